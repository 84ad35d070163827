package artifact

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/store"
)

// internalError is none of the tenant's business: it is logged, and the tenant
// learns only that the release is late.
type internalError struct{ err error }

func (e *internalError) Error() string {
	return "the platform could not make the release; it tries again"
}
func (e *internalError) Unwrap() error { return e.err }

// job is what one look at a repository is about.
type job struct {
	key      Key
	wish     Wish
	src      Source
	repo     store.Record[Repository]
	revision string
	release  store.Record[Release]
}

// look sees where a repository stands, makes a release of its head if there is
// none, and records both. The error says that something could not be read from
// the store or recorded; whatever else is wrong is in the Repository.
func (r *run) look(ctx context.Context, k Key, wish Wish) (Repository, error) {
	j := &job{key: k, wish: wish, src: r.open(k, wish)}
	var err error
	if j.repo, err = readOr[Repository](ctx, r.Store, RepositoryKey(k)); err != nil {
		return Repository{}, err
	}
	if j.revision, err = r.resolve(ctx, j); err != nil {
		return r.late(ctx, j, err)
	}
	if j.release, err = readOr[Release](ctx, r.Store, ReleaseKey(k, j.revision)); err != nil {
		return j.repo.Value, err
	}
	settled, err := r.settled(ctx, j)
	switch {
	case err != nil:
		return r.late(ctx, j, err)
	case settled:
		return r.arrive(ctx, j)
	}
	return r.make(ctx, j)
}

// resolve says which revision is wanted. A commit whose release is recorded
// needs no repository: going back to it works when that is away, or has
// forgotten the commit.
func (r *run) resolve(ctx context.Context, j *job) (string, error) {
	if isHash(j.wish.Ref) {
		revision := strings.ToLower(j.wish.Ref)
		kept, err := readOr[Release](ctx, r.Store, ReleaseKey(j.key, revision))
		if err != nil {
			return "", &internalError{err}
		}
		if kept.Value.State != "" {
			return revision, nil
		}
	}
	leave, err := enter(ctx, r.fetching)
	if err != nil {
		return "", err
	}
	defer leave()
	return j.src.Resolve(ctx, j.wish.Ref)
}

// settled reports whether the revision needs no build: it was built, or it is
// the head and failed. One that failed before is tried again when the head
// comes back to it, and so is one whose blobs are gone.
func (r *run) settled(ctx context.Context, j *job) (bool, error) {
	known, same := j.release.Value, j.repo.Value.Head == j.revision
	if known.State != Built || same {
		return same && known.State != "", nil
	}
	for _, d := range []Digest{known.Archive, known.Plan} {
		blob, err := r.Blobs.Get(ctx, d)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, &internalError{err}
		}
		if err := blob.Close(); err != nil {
			return false, &internalError{err}
		}
	}
	return true, nil
}

// make fetches, checks, builds, stores and records a revision.
func (r *run) make(ctx context.Context, j *job) (Repository, error) {
	dir, err := os.MkdirTemp(r.tmp(), "release-")
	if err != nil {
		return r.late(ctx, j, &internalError{err})
	}
	defer func() {
		if err := removeTree(dir); err != nil {
			r.log().Warn("a temporary folder stays until the next start", "dir", dir, "error", err)
		}
	}()
	var log tail
	began := time.Now()
	plan, err := r.prepare(ctx, j, dir, io.MultiWriter(&log, r.pushLog(j.key)))
	var rel Release
	if err == nil {
		// From the first blob to the record nothing may be swept.
		leave, enterErr := enter(ctx, r.publishing)
		if enterErr != nil {
			return j.repo.Value, enterErr
		}
		defer leave()
		rel, err = r.put(ctx, dir, plan)
	}
	rel.V, rel.Revision, rel.Log, rel.At = Schema, j.revision, log.text(), time.Now().UTC()
	attrs := []any{"key", j.key, "revision", j.revision, "took", time.Since(began).Round(time.Millisecond)}
	switch {
	case err == nil:
		rel.State = Built
		r.log().Info("release built", append(attrs, "bytes", rel.Size)...)
	case errors.Is(err, ErrRelease), errors.Is(err, archive.ErrRefused):
		rel.State, rel.Reason = Failed, clip(err.Error())
		r.log().Warn("release failed", append(attrs, "reason", rel.Reason)...)
	default:
		return r.late(ctx, j, err)
	}
	j.release.Value = rel
	return r.arrive(ctx, j, j.release)
}

// prepare fills dir with what is to be released and returns the plan. What is
// wrong with the revision wraps ErrRelease or archive.ErrRefused.
func (r *run) prepare(ctx context.Context, j *job, dir string, log io.Writer) ([]byte, error) {
	if err := r.fetch(ctx, j.src, j.revision, dir); err != nil {
		return nil, err
	}
	if err := r.inspect(dir); err != nil {
		return nil, err
	}
	plan, err := r.build(ctx, j.key, dir, log)
	if err != nil {
		return nil, err
	}
	if err := r.inspect(dir); err != nil { // builds make files, too
		return nil, fmt.Errorf("after the build: %w", err)
	}
	return plan, nil
}

// inspect refuses a folder that cannot be a release.
func (r *run) inspect(dir string) error {
	err := archive.Check(dir, r.Limits)
	if err != nil && !errors.Is(err, archive.ErrRefused) {
		return &internalError{err}
	}
	return err
}

func (r *run) fetch(ctx context.Context, src Source, revision, dir string) error {
	leave, err := enter(ctx, r.fetching)
	if err != nil {
		return err
	}
	defer leave()
	return src.Fetch(ctx, revision, dir)
}

// build runs the build when it is its turn.
func (r *run) build(ctx context.Context, k Key, dir string, log io.Writer) ([]byte, error) {
	leave, err := enter(ctx, r.building)
	if err != nil {
		return nil, err
	}
	defer leave()
	limit := cmp.Or(r.BuildTimeout, DefaultBuildTimeout)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	plan, err := r.Build(limited, k, dir, log)
	switch {
	case err == nil:
		return plan, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w: its build took longer than %s", ErrRelease, limit)
	case errors.Is(err, ErrTransient):
		return nil, err
	}
	return nil, &refusedError{err}
}

// refusedError makes the error of a build one of ErrRelease, without more words.
type refusedError struct{ err error }

func (e *refusedError) Error() string   { return e.err.Error() }
func (e *refusedError) Unwrap() []error { return []error{e.err, ErrRelease} }

// put stores a release's archive and plan.
func (r *run) put(ctx context.Context, dir string, plan []byte) (rel Release, err error) {
	in, out := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := archive.Pack(dir, out)
		packed <- err
		out.CloseWithError(err)
	}()
	counted := &counter{r: in}
	rel.Archive, err = r.Blobs.Put(ctx, counted)
	in.CloseWithError(errors.New("nobody reads the archive any more"))
	packErr := <-packed
	switch {
	case errors.Is(packErr, archive.ErrRefused):
		return rel, packErr
	case packErr != nil || err != nil:
		return rel, &internalError{errors.Join(err, packErr)}
	}
	rel.Size = counted.n
	if r.Note != nil {
		if rel.Note, err = r.Note(plan); err != nil {
			return rel, &internalError{err}
		}
	}
	if rel.Plan, err = r.Blobs.Put(ctx, bytes.NewReader(plan)); err != nil {
		return rel, &internalError{err}
	}
	return rel, nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
