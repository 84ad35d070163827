package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/gostratos/stratos/artifact/archive"
)

// Defaults of [Git].
const (
	DefaultFetchTimeout   = 10 * time.Minute
	DefaultResolveTimeout = 30 * time.Second
	DefaultMaxPack        = 2 << 30
)

// Git is the [Source] of one Git repository; no git program is needed. Commits
// come with little of their history into a bare mirror, so that a new one costs
// what it changed. The mirror is a cache: one that is damaged is thrown away and
// made again. A repository in a local folder is read where it is.
//
// Methods may be called concurrently; those that share a mirror, also in
// several processes, take turns.
type Git struct {
	// URL is what CheckURL lets pass, or what Dir returned.
	URL string
	// Credentials open a private repository, and are shown to its host alone:
	// not to another one that it redirects to. Default: none.
	Credentials Credentials
	// Mirror is the folder of the bare mirror, made when it is needed. Beside
	// it, Mirror + ".lock" is made. Not used for local folders.
	Mirror string
	// Timeout of a Fetch. Default: DefaultFetchTimeout. A Resolve has the
	// shorter of Timeout and DefaultResolveTimeout, unless ref is a commit that
	// must be fetched to see whether it exists.
	Timeout time.Duration
	// Limits of the files of a commit. Default: those of package archive.
	Limits archive.Limits
	// MaxPack is how much one fetch may bring, bytes, compressed. Default: DefaultMaxPack.
	MaxPack int64
	// HTTP is the client for http and https: its transport decides about
	// proxies, authorities and which hosts are reached. Default: http.DefaultClient.
	HTTP *http.Client
}

var _ Source = (*Git)(nil)

// Resolve returns the commit that ref names now: a branch, a tag (annotated or
// not), a name that begins with "refs/", a full hash, or nothing for the
// default branch. A branch goes before a tag of the same name.
func (g *Git) Resolve(ctx context.Context, ref string) (revision string, err error) {
	timeout := cmp.Or(g.Timeout, DefaultFetchTimeout)
	if !isHash(ref) {
		timeout = min(timeout, DefaultResolveTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	h, err := g.resolve(ctx, ref)
	if err != nil {
		return "", g.explain(ctx, err)
	}
	return h.String(), nil
}

// Fetch writes the files of a commit into dir: folders, files, whether they
// are executable, and symbolic links that stay inside. Submodules, LFS
// pointers, links that leave and more than Limits are errors that wrap ErrRelease.
func (g *Git) Fetch(ctx context.Context, revision, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(g.Timeout, DefaultFetchTimeout))
	defer cancel()
	if err := g.fetch(ctx, revision, dir); err != nil {
		return g.explain(ctx, err)
	}
	return nil
}

func (g *Git) resolve(ctx context.Context, ref string) (plumbing.Hash, error) {
	if path, ok := localPath(g.URL); ok {
		l, err := openLocal(path)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		return l.resolve(ref)
	}
	if isHash(ref) {
		h := plumbing.NewHash(ref)
		return h, g.withCommit(ctx, h, func(*mirror) error { return nil })
	}
	r, err := g.connect(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer r.close() // everything was said
	return r.refs.find(ref)
}

func (g *Git) fetch(ctx context.Context, revision, dir string) error {
	if !isHash(revision) {
		return fmt.Errorf("%w: %q is not a full commit hash: resolve it first", ErrNoRef, revision)
	}
	h := plumbing.NewHash(revision)
	if path, ok := localPath(g.URL); ok {
		l, err := openLocal(path)
		if err != nil {
			return err
		}
		return l.export(ctx, h, dir, g.Limits)
	}
	return g.withCommit(ctx, h, func(m *mirror) error {
		if err := empty(dir); err != nil { // of a first try with a damaged mirror
			return err
		}
		return exportCommit(ctx, m.store, h, dir, g.Limits)
	})
}

func (g *Git) connect(ctx context.Context) (*remote, error) {
	if err := CheckURL(g.URL); err != nil {
		return nil, err
	}
	if err := g.Credentials.Check(g.URL); err != nil {
		return nil, err
	}
	return g.dial(ctx)
}

// withCommit calls use while the mirror is locked and has the commit. If the
// mirror proves to be damaged, it happens again with a new one.
func (g *Git) withCommit(ctx context.Context, commit plumbing.Hash, use func(*mirror) error) (err error) {
	if g.Mirror == "" {
		return errors.New("no folder for the mirror: set Git.Mirror")
	}
	lock, err := lockMirror(ctx, g.Mirror)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	err = g.tryCommit(ctx, commit, use)
	var damaged *damagedError
	if !errors.As(err, &damaged) || ctx.Err() != nil {
		return err
	}
	if err := removeMirror(g.Mirror); err != nil {
		return err
	}
	return g.tryCommit(ctx, commit, use)
}

func (g *Git) tryCommit(ctx context.Context, commit plumbing.Hash, use func(*mirror) error) (err error) {
	m, err := openMirror(g.Mirror)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	here, err := m.has(commit)
	if err != nil {
		return err
	}
	if !here {
		if err := g.pull(ctx, m, commit); err != nil {
			return err
		}
	}
	return use(m)
}

// pull brings a commit that the mirror does not have.
func (g *Git) pull(ctx context.Context, m *mirror, commit plumbing.Hash) error {
	r, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer r.close() // everything was read
	return m.fetch(ctx, r, commit)
}

// explain gives an error the URL, one of the package's errors, and a cure.
func (g *Git) explain(ctx context.Context, err error) error {
	if errors.Is(err, ErrURL) { // the URL may hold what must not be shown
		return err
	}
	where := strings.TrimPrefix(g.URL, dirScheme)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("repository %s: no answer in time: %w", where, cause)
	case cause != nil:
		return fmt.Errorf("repository %s: %w", where, cause)
	}
	for _, known := range []error{ErrNoRepository, ErrAuth, ErrNoRef, ErrRelease} {
		if errors.Is(err, known) {
			return fmt.Errorf("repository %s: %w", where, err)
		}
	}
	switch text := err.Error(); {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("repository %s: %w: check the spelling (hosts hide what does not exist behind a login), and give it credentials that may read it", where, ErrAuth)
	case strings.Contains(text, "unable to authenticate"): // of x/crypto/ssh, which has no error value for it
		return fmt.Errorf("repository %s: %w: give it a key that may read it", where, ErrAuth)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("repository %s: %w: check the spelling, and that it may be read", where, ErrNoRepository)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return fmt.Errorf("repository %s: %w: it is empty: push a commit", where, ErrNoRef)
	}
	return fmt.Errorf("repository %s: %w", where, err)
}

// empty removes what is in dir.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
