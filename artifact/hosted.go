package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gostratos/stratos/store"
)

// Hosted is the URL of a repository that is kept here, for who has none
// elsewhere: it is pushed to, see [Coordinator.Receive]. Only Go programs may
// pass it: [CheckURL] refuses it. It needs a git program on this machine.
const Hosted = "hosted:"

// HostedPrefix is where hosted repositories are in the store.
const HostedPrefix = "hosted/" // hosted/{tenant}/{alias}

// HostedKey is where a hosted repository's record is. Who subscribes makes the
// record, with NewHosted, and who unsubscribes deletes it.
func HostedKey(k Key) string { return HostedPrefix + k.String() }

// HostedRepository is what a repository that is kept here holds. What was
// acknowledged to a pusher is in it, and in Blobs; whatever else there is on a
// disk is a cache.
type HostedRepository struct {
	V    int               `json:"v"`
	Head string            `json:"head"`           // the default branch, a full name
	Refs map[string]string `json:"refs,omitempty"` // full names, and the hashes they stand for
	// Packs hold the objects, the oldest first.
	Packs []HostedPack `json:"packs,omitempty"`
}

// HostedPack is one pack of objects.
type HostedPack struct {
	Name string `json:"name"` // what git calls its file: pack-<hash>
	Blob Digest `json:"blob"`
	Size int64  `json:"size"` // bytes
}

// NewHosted returns a repository that nothing was pushed to.
func NewHosted() HostedRepository {
	return HostedRepository{V: Schema, Head: "refs/heads/main"}
}

// errNothingPushed says that a hosted repository is empty.
var errNothingPushed = fmt.Errorf("%w: nothing was pushed to it yet: git push", ErrNoRef)

// hosted is the source of Hosted.
type hosted struct {
	*Coordinator
	key Key
}

var _ Source = hosted{}

// Resolve implements [Source]. While somebody pushes, the ref that is followed
// names what is pushed: whether it gets there depends on the release.
func (h hosted) Resolve(ctx context.Context, ref string) (revision string, err error) {
	if p := h.pushing(h.key); p != nil && p.revision != "" && p.ref == ref {
		return p.revision, nil
	}
	err = h.use(ctx, func(rec HostedRepository, l *local) error {
		if len(rec.Refs) == 0 {
			return errNothingPushed
		}
		commit, err := l.resolve(ref)
		revision = commit.String()
		return err
	})
	return revision, err
}

// Fetch implements [Source].
func (h hosted) Fetch(ctx context.Context, revision, dir string) error {
	return h.use(ctx, func(_ HostedRepository, l *local) error {
		if err := empty(dir); err != nil { // of a first try with a damaged cache
			return err
		}
		return l.export(ctx, plumbing.NewHash(revision), dir, h.Limits)
	})
}

// use calls do with the repository, as it is recorded, while nobody changes
// what is on the disk. A damaged cache is made again.
func (h hosted) use(ctx context.Context, do func(HostedRepository, *local) error) error {
	try := func() error {
		return h.withCache(ctx, h.key, func(path string, rec store.Record[HostedRepository]) error {
			l, err := openBare(path)
			if err != nil {
				return err
			}
			return do(rec.Value, l)
		})
	}
	err := try()
	var damaged *damagedError
	if !errors.As(err, &damaged) || ctx.Err() != nil || h.pushing(h.key) != nil {
		return err // what is pushed just now is nowhere else
	}
	if err := h.dropCache(ctx, h.key); err != nil {
		return err
	}
	return try()
}

// openBare opens the folder of a repository that is ours.
func openBare(path string) (*local, error) {
	repo, err := git.Open(bareStorage(path), nil)
	if err != nil {
		return nil, &damagedError{err}
	}
	return &local{repo: repo}, nil
}

// hosted reads a hosted repository's record.
func (c *Coordinator) hosted(ctx context.Context, k Key) (store.Record[HostedRepository], error) {
	rec, err := store.Read[HostedRepository](ctx, c.Store, HostedKey(k))
	if errors.Is(err, store.ErrNotFound) {
		return rec, fmt.Errorf("%w: no repository is kept here for %s", ErrNoRepository, k)
	}
	return rec, err
}

// refs are the names of the repository. Annotated tags are not peeled.
func (h HostedRepository) refs() refs {
	r := refs{names: map[string]plumbing.Hash{}}
	for name, hash := range h.Refs {
		r.names[name] = plumbing.NewHash(hash)
	}
	r.head = r.names[h.Head]
	return r
}

// clone copies what may be changed.
func (h HostedRepository) clone() HostedRepository {
	h.Refs, h.Packs = maps.Clone(h.Refs), slices.Clone(h.Packs)
	if h.Refs == nil {
		h.Refs = map[string]string{}
	}
	return h
}

// size is what the packs take, bytes.
func (h HostedRepository) size() (n int64) {
	for _, p := range h.Packs {
		n += p.Size
	}
	return n
}

// has reports whether a pack is the repository's.
func (h HostedRepository) has(pack string) bool {
	return slices.ContainsFunc(h.Packs, func(p HostedPack) bool { return p.Name == pack })
}

// push is one push that is being received.
type push struct {
	ref      string    // what the wish follows
	revision string    // what that will name; empty while it does not change
	log      io.Writer // the pusher's
}

// hosting is what a coordinator knows of a hosted repository beside its record.
type hosting struct {
	turn chan struct{} // of one: pushes come one after another
	push *push         // guarded by the coordinator's mutex
}

// hosting returns what belongs to k.
func (c *Coordinator) hosting(k Key) *hosting {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hostings == nil {
		c.hostings = map[Key]*hosting{}
	}
	if c.hostings[k] == nil {
		c.hostings[k] = &hosting{turn: make(chan struct{}, 1)}
	}
	return c.hostings[k]
}

// pushing returns the push that k receives just now, or nil.
func (c *Coordinator) pushing(k Key) *push {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hostings[k]; h != nil && h.push != nil {
		p := *h.push
		return &p
	}
	return nil
}

// setPush says what k receives; nil: nothing any more. It does not wait for the
// round that is under way, which may be about what is not wanted any more.
func (c *Coordinator) setPush(k Key, p *push) {
	h := c.hosting(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	h.push = p
	if w := c.workers[k]; w != nil && (p == nil || p.revision != "") {
		w.interrupt()
	}
}

// pushLog is where a build of k is followed by who pushed it.
func (c *Coordinator) pushLog(k Key) io.Writer {
	if p := c.pushing(k); p != nil && p.revision != "" {
		return p.log
	}
	return io.Discard
}

// maxHostedPacks is how many packs a hosted repository may have before they are
// made one: every object is looked up in each of them.
const maxHostedPacks = 20

// tidy makes one pack of many, of what can still be reached.
func (r *run) tidy(ctx context.Context, k Key) error {
	h := r.hosting(k)
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	default:
		return nil // somebody pushes: after that
	}
	began := time.Now()
	var rec store.Record[HostedRepository]
	var pack string
	err := r.withCache(ctx, k, func(path string, now store.Record[HostedRepository]) error {
		rec = now
		if len(rec.Value.Packs) <= maxHostedPacks {
			return nil
		}
		if err := unsynced(path); err != nil {
			return err
		}
		if _, err := runGit(ctx, path, nil, "repack", "-a", "-d", "-q"); err != nil {
			return err
		}
		names, err := packsOf(path)
		if err != nil {
			return err
		}
		if len(names) != 1 {
			return fmt.Errorf("git repack left %d packs", len(names))
		}
		pack = names[0]
		return nil
	})
	if err != nil || pack == "" {
		return err
	}
	before := len(rec.Value.Packs)
	rec.Value.Packs = nil
	if err := r.keep(ctx, k, rec, []string{pack}); err != nil {
		return err
	}
	r.wakeSweep()
	r.log().Info("packs of a repository are one now", "key", k, "packs", before, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// keep stores packs that are in the cache, and records the repository with them.
func (r *run) keep(ctx context.Context, k Key, rec store.Record[HostedRepository], packs []string) error {
	// From the first blob to the record nothing may be swept.
	leave, err := enter(ctx, r.publishing)
	if err != nil {
		return err
	}
	defer leave()
	for _, name := range packs {
		pack, err := r.putPack(ctx, k, name)
		if err != nil {
			return err
		}
		rec.Value.Packs = append(rec.Value.Packs, pack)
	}
	op, err := rec.Put()
	if err != nil {
		return err
	}
	_, err = r.Store.Commit(ctx, store.Txn{If: []store.Cond{r.guard, rec.Unchanged()}, Then: []store.Op{op}})
	var unknown *store.UnknownError
	if !errors.As(err, &unknown) {
		return err
	}
	now, err := store.Read[HostedRepository](ctx, r.Store, rec.Key)
	if err != nil {
		return errors.Join(unknown, err)
	}
	if !bytes.Equal(now.Value.fingerprint(), rec.Value.fingerprint()) {
		return unknown
	}
	return nil
}
