package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/store"
)

// Defaults of [Coordinator].
const (
	DefaultPoll         = time.Minute
	DefaultKeep         = 5
	DefaultQuota        = 4 << 30
	DefaultHostedQuota  = 4 << 30
	DefaultBuilds       = 1
	DefaultBuildTimeout = 15 * time.Minute
)

// checkTimeout is how long Check waits for a repository.
const checkTimeout = 20 * time.Second

// Wish says which repository a subscription wants, and what of it.
type Wish struct {
	URL string // what CheckURL lets pass, or what Dir returned
	Ref string // a branch, a tag or a commit. Default: the default branch
	// Credentials open a private repository. Default: none.
	Credentials Credentials `json:"-"`
}

// Coordinator follows repositories and makes releases of their new revisions.
// It is told what to follow by [Coordinator.Set]; what it made is in the
// store. Store, Blobs, Dir and Build are required. The fields are not changed
// after the first use. All methods may be called concurrently.
//
// A release becomes visible as a whole, together with the repository's new
// Head, in one transaction. Whoever is killed before has done nothing: the
// next Run begins again. Blobs belongs to the coordinator: what no release
// refers to is deleted from it.
type Coordinator struct {
	Store store.Store
	Blobs Blobs
	// Dir holds mirrors and temporary folders. Only one Run at a time uses it.
	Dir   string
	Build BuildFunc

	// Poll is how often every repository is looked at, give or take a fifth.
	// One that cannot be read is tried again sooner at first, then less and
	// less often, down to a fifth as often. Default: DefaultPoll.
	Poll time.Duration
	// Open returns the source of a subscription. Default: a Git with its
	// mirror below Dir.
	Open func(k Key, w Wish) Source
	// InUse names the revisions that must be kept whatever their age: those
	// that members run. Default: none.
	InUse func(k Key) []string
	// Keep is how many releases of a subscription are kept. Default: DefaultKeep.
	Keep int
	// Quota is how much the archives of a subscription's releases may take,
	// bytes: the oldest go first, but never the newest or one in use. Default:
	// DefaultQuota.
	Quota int64
	// HostedQuota is how much a hosted repository may take, bytes. Default:
	// DefaultHostedQuota.
	HostedQuota int64
	// Note, if set, says what of a plan stays in the release's record, for who
	// rolls releases out and reads no plans. Default: nothing.
	Note func(plan []byte) (json.RawMessage, error)
	// Builds is how many builds run at a time. Default: DefaultBuilds.
	Builds int
	// BuildTimeout is how long one build may take. Default: DefaultBuildTimeout.
	BuildTimeout time.Duration
	// Limits of a release, before and after its build. Default: those of package archive.
	Limits archive.Limits
	// Admit, if set, is called for a revision that was pushed to a hosted
	// repository, once its release is recorded as built: it returns nil when the
	// revision is served, and an error, for who pushed it, when it will not be.
	// What there is to say meanwhile goes to say.
	Admit func(ctx context.Context, k Key, revision string, say io.Writer) error
	// Log is told what an operator must know. Default: none.
	Log *slog.Logger

	mu       sync.Mutex
	given    bool // Set was called
	wishes   map[Key]Wish
	calls    map[Key][]*call // who waits in Synchronise
	workers  map[Key]*worker // while Run runs
	run      *run            // while Run runs
	hostings map[Key]*hosting
	changed  chan struct{} // closed by the next Set
	running  bool
}

// call is a Synchronise that waits for its answer.
type call struct {
	done chan struct{} // closed when the rest is set
	repo Repository
	err  error
}

// Set replaces the former wishes. Only the newest counts: a key that is not in
// it any more loses its records and its mirror. It does not block.
func (c *Coordinator) Set(wishes map[Key]Wish) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given, c.wishes = true, maps.Clone(wishes)
	maps.DeleteFunc(c.wishes, func(k Key, _ Wish) bool { return !k.usable() })
	if dropped := len(wishes) - len(c.wishes); dropped > 0 {
		c.log().Error("wishes with unusable names are left out", "count", dropped)
	}
	for k, w := range c.workers {
		if wish, ok := c.wishes[k]; ok != w.wished || wish != w.wish {
			w.interrupt()
		}
	}
	for k, calls := range c.calls {
		if _, ok := c.wishes[k]; !ok {
			delete(c.calls, k)
			answer(calls, Repository{}, unknownKey(k))
		}
	}
	maps.DeleteFunc(c.hostings, func(k Key, h *hosting) bool {
		_, ok := c.wishes[k]
		return !ok && h.push == nil
	})
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Synchronise looks at the repository of k now, and returns where it stands
// once the release of its head is recorded, whether it could be built or not,
// or once it is known why the repository cannot be read: then Error is set.
// It needs a Run to do the work, and waits for one. A key without a wish is
// an error that wraps store.ErrNotFound.
func (c *Coordinator) Synchronise(ctx context.Context, k Key) (Repository, error) {
	mine := &call{done: make(chan struct{})}
	if err := c.enlist(k, mine); err != nil {
		return Repository{}, err
	}
	select {
	case <-mine.done:
		return mine.repo, mine.err
	case <-ctx.Done():
		c.withdraw(k, mine)
		return Repository{}, fmt.Errorf("synchronise %s: %w", k, ctx.Err())
	}
}

// Poke asks for a look at the repository of k now, and does not wait for what
// comes of it. A key that nobody looks after is passed over.
func (c *Coordinator) Poke(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[k]; w != nil {
		w.poke()
	}
}

// Check says whether a wish can be fulfilled: whether its repository can be
// read and has such a ref. It takes at most 20 seconds, builds nothing and
// records nothing. Whether a tenant may use the URL is for CheckURL to say.
func (c *Coordinator) Check(ctx context.Context, k Key, w Wish) error {
	if !k.usable() {
		return fmt.Errorf("%q is not usable as the name of a repository", k.String())
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	_, err := c.open(k, w).Resolve(ctx, w.Ref)
	return err
}

func (c *Coordinator) enlist(k Key, mine *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.wishes[k]; c.given && !ok {
		return unknownKey(k)
	}
	if c.calls == nil {
		c.calls = map[Key][]*call{}
	}
	c.calls[k] = append(c.calls[k], mine)
	if w := c.workers[k]; w != nil {
		w.poke()
	}
	return nil
}

func (c *Coordinator) withdraw(k Key, mine *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[k] = slices.DeleteFunc(c.calls[k], func(o *call) bool { return o == mine })
	if len(c.calls[k]) == 0 {
		delete(c.calls, k)
	}
}

// answer ends calls.
func answer(calls []*call, repo Repository, err error) {
	for _, o := range calls {
		o.repo, o.err = repo, err
		close(o.done)
	}
}

func unknownKey(k Key) error {
	return fmt.Errorf("repository of %s: %w: subscribe first", k, store.ErrNotFound)
}

// usable reports whether both parts can be names of folders and parts of keys.
func (k Key) usable() bool {
	for _, name := range []string{k.Tenant, k.Alias} {
		if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
			return false
		}
	}
	return true
}

func (c *Coordinator) open(k Key, w Wish) Source {
	switch w.URL {
	case Empty:
		return none{}
	case Hosted:
		return hosted{c, k}
	}
	if c.Open != nil {
		return c.Open(k, w)
	}
	return &Git{URL: w.URL, Credentials: w.Credentials, Mirror: c.mirror(k), Limits: c.Limits}
}

func (c *Coordinator) mirrors() string { return filepath.Join(c.Dir, "mirrors") }

func (c *Coordinator) mirror(k Key) string {
	return filepath.Join(c.mirrors(), k.Tenant, k.Alias+".git")
}

func (c *Coordinator) tmp() string { return filepath.Join(c.Dir, "tmp") }

func (c *Coordinator) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// check names the first required field that is missing.
func (c *Coordinator) check() error {
	switch {
	case c.Store == nil:
		return errors.New("artifact coordinator: set Store")
	case c.Blobs == nil:
		return errors.New("artifact coordinator: set Blobs")
	case c.Dir == "":
		return errors.New("artifact coordinator: set Dir")
	case c.Build == nil:
		return errors.New("artifact coordinator: set Build")
	}
	return nil
}
