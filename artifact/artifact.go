// Package artifact is the Artifact Distribution Coordinator: it turns a commit
// of a Git repository into an immutable, content-addressed release.
//
// A [Source] answers two questions: which revision does a ref name, and what
// are its files. The [Coordinator] asks it, when told and periodically, and
// for every new revision fetches the files into a temporary folder, checks
// them, has them planned and built by a function it is given, and stores the
// result as one archive, by digest, in [Blobs]. It knows no cartridge, and it
// records what it made: the releases, and where each repository stands.
package artifact

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// Prefixes of the keys in the store.
const (
	ReleasePrefix    = "releases/"     // releases/{tenant}/{alias}/{revision}
	RepositoryPrefix = "repositories/" // repositories/{tenant}/{alias}
)

// Schema is the version that this code writes into the V of its records.
const Schema = 1

// Errors of a source that callers handle apart. A source wraps the underlying
// error with one of them, and never lets credentials into the text.
var (
	ErrNoRepository = errors.New("repository does not exist or is not readable")
	ErrAuth         = errors.New("repository refuses the credentials, or needs some")
	ErrNoRef        = errors.New("no such branch, tag or commit in the repository")
	ErrURL          = errors.New("repository URL is not allowed")
	// ErrRelease: the files of the commit cannot be released; a human mends the repository.
	ErrRelease = errors.New("commit cannot be released")
)

// Source is where code comes from.
type Source interface {
	// Resolve returns the revision that ref names now: a full commit hash. An
	// empty ref is the repository's default branch.
	Resolve(ctx context.Context, ref string) (revision string, err error)
	// Fetch writes the files of a revision into dir, which exists and is
	// empty. After an error what is in dir is worthless.
	Fetch(ctx context.Context, revision, dir string) error
}

// Digest names a blob by its content: "sha256-" and 64 hex digits.
type Digest string

// Blobs keeps immutable content by digest. Methods may be called concurrently.
type Blobs interface {
	// Put stores what r holds, durably, and returns its digest. What is there
	// already is not stored twice; nothing is visible before it is whole.
	Put(ctx context.Context, r io.Reader) (Digest, error)
	// Get opens a blob; store.ErrNotFound if it is not there. The reader fails
	// at its end, instead of with io.EOF, if what was read is not d: see
	// [VerifyReader]. It may stop when ctx ends, and must be closed.
	Get(ctx context.Context, d Digest) (io.ReadCloser, error)
	// List returns all digests.
	List(ctx context.Context) ([]Digest, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, d Digest) error
}

// Key names the subscription that a repository belongs to.
type Key struct{ Tenant, Alias string }

// String returns tenant/alias.
func (k Key) String() string { return k.Tenant + "/" + k.Alias }

// Compare orders keys by tenant, then by alias.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Tenant, o.Tenant), cmp.Compare(k.Alias, o.Alias))
}

// ReleaseKey is where a release's record is.
func ReleaseKey(k Key, revision string) string { return ReleasePrefix + k.String() + "/" + revision }

// RepositoryKey is where a repository's record is.
func RepositoryKey(k Key) string { return RepositoryPrefix + k.String() }

// BuildState says what became of a revision.
type BuildState string

// The states of a release.
const (
	Built  BuildState = "built"
	Failed BuildState = "failed" // see Log; it is not tried again
)

// Release is a revision made ready to run, or the reason why it could not be.
type Release struct {
	V        int        `json:"v"`
	Revision string     `json:"revision"`
	State    BuildState `json:"state"`
	Archive  Digest     `json:"archive,omitempty"` // a tar of the files
	Plan     Digest     `json:"plan,omitempty"`    // the plan, JSON
	Size     int64      `json:"size,omitempty"`    // of the archive, bytes
	Reason   string     `json:"reason,omitempty"`  // of a failure
	Log      string     `json:"log,omitempty"`     // the end of the build's output, at most 64 KiB
	At       time.Time  `json:"at"`
	// Note is what [Coordinator.Note] said of the plan, JSON.
	Note json.RawMessage `json:"note,omitempty"`
}

// Repository is where a subscription's repository stands. Only changes are written.
type Repository struct {
	V    int    `json:"v"`
	URL  string `json:"url"`
	Ref  string `json:"ref,omitempty"`
	Head string `json:"head,omitempty"` // the newest revision whose release is recorded
	// Error says why the repository could not be read; empty when it can.
	Error string `json:"error,omitempty"`
	// Problem is the kind of Error, for programs; empty when there is none.
	Problem Problem   `json:"problem,omitempty"`
	At      time.Time `json:"at"`
}

// Problem says why a repository gives no release.
type Problem string

// The problems of repositories. What runs goes on; the repository is looked at
// again and again, so that nothing but the cure is needed.
const (
	RepoAuthFailed  Problem = "REPO_AUTH_FAILED"   // it refuses the credentials, or needs some
	RepoNotFound    Problem = "REPO_NOT_FOUND"     // it is not there, or not for us to read
	RepoURLRefused  Problem = "REPO_URL_REFUSED"   // see CheckURL
	RepoUnreachable Problem = "REPO_UNREACHABLE"   // no answer, or one that is not understood
	RefNotFound     Problem = "REPO_REF_NOT_FOUND" // no such branch, tag or commit; a deleted branch
	RepoEmpty       Problem = "REPO_EMPTY"         // a hosted one that nothing was pushed to
	ReleaseLate     Problem = "RELEASE_LATE"       // the platform's own trouble; it tries again
)

// problemOf is the kind of an error.
func problemOf(err error) Problem {
	var internal *internalError
	switch {
	case errors.Is(err, ErrAuth), errors.Is(err, ErrCredentials):
		return RepoAuthFailed
	case errors.Is(err, errNothingPushed):
		return RepoEmpty
	case errors.Is(err, ErrNoRef):
		return RefNotFound
	case errors.Is(err, ErrNoRepository):
		return RepoNotFound
	case errors.Is(err, ErrURL):
		return RepoURLRefused
	case errors.As(err, &internal), errors.Is(err, ErrTransient):
		return ReleaseLate
	}
	return RepoUnreachable
}

// BuildFunc plans and builds the files in dir in place: it returns the plan as
// JSON. What a build prints goes to log. An error refuses the revision and is
// shown to the tenant; one that wraps [ErrTransient] is tried again instead.
type BuildFunc func(ctx context.Context, k Key, dir string, log io.Writer) (plan []byte, err error)

// ErrTransient marks an error that says nothing about the revision.
var ErrTransient = errors.New("try again")
