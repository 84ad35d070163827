package stream

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// replica is a client's copy of the topology, and the rules by which it changes.
type replica struct {
	mu     sync.Mutex
	out    *topology.Latest
	log    *slog.Logger
	view   *topology.View // nil: none yet
	store  string         // whose view it is
	stored bool           // it comes from the file; no control plane has confirmed it
	lost   bool           // it may not be what the control plane has
	doubt  doubt
	stats  Stats

	// What readers see never goes back, not even when a restored store begins
	// again at an older revision: theirs is the revision plus shift.
	shift store.Revision
	shown *topology.View
}

func (r *replica) begin(out *topology.Latest, patience time.Duration, log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out, r.log, r.doubt.patience = out, log, patience
}

func (r *replica) isLost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// place is where to go on; revision 0: from the beginning.
func (r *replica) place() (id string, rev store.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view == nil || r.lost {
		return "", 0
	}
	return r.store, r.view.Rev
}

// etag is what the copy is.
func (r *replica) etag() (etag, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view == nil {
		return etag{}, false
	}
	return etag{store: r.store, rev: r.view.Rev, digest: r.view.Digest().String()}, true
}

// fold takes a frame that is no snapshot.
func (r *replica) fold(f *frame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Frames++
	switch {
	case r.view == nil:
		return fmt.Errorf("topology stream: frame %q before the first snapshot", f.T)
	case f.T == frameCompacted:
		return r.lose("revision %d is not known any more", r.view.Rev)
	case f.T == frameSync:
		return r.check(f)
	case f.Rev <= r.view.Rev:
		return nil // seen
	case f.After > r.view.Rev:
		return r.lose("nothing came from revision %d to %d", r.view.Rev, f.After)
	}
	v, err := r.view.With(f.Rev, f.events())
	if err != nil {
		r.lost = true
		return err
	}
	r.show(v)
	return nil
}

// check compares the digest; r.mu is held.
func (r *replica) check(f *frame) error {
	switch {
	case f.Rev < r.view.Rev:
		return nil // of the past
	case !f.sums(r.view.Digest()):
		r.stats.Mismatches++
		return r.lose("at revision %d the digest differs", f.Rev)
	}
	r.stored = false
	if f.Rev > r.view.Rev {
		v := *r.view
		v.Rev = f.Rev
		r.show(&v)
	}
	return nil
}

func (r *replica) lose(format string, args ...any) error {
	r.lost = true
	r.stats.Lost++
	return fmt.Errorf("%w: "+format, append([]any{errLost}, args...)...)
}

// unchanged takes the answer that the records are the same, at a revision that
// may be higher.
func (r *replica) unchanged(asked etag, answer string) error {
	now, ok := parseETag(answer)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !ok || now.store != asked.store || now.digest != asked.digest:
		return fmt.Errorf("topology snapshot: asked for what is not %v, the answer is that nothing changed from %q", asked, answer)
	case r.store != asked.store || r.view.Digest().String() != asked.digest:
		return nil // the copy has moved on meanwhile
	case now.rev > r.view.Rev:
		v := *r.view
		v.Rev = now.rev
		r.show(&v)
	}
	if now.rev >= r.view.Rev {
		r.lost, r.stored = false, false
	}
	return nil
}

// replace takes a snapshot, if the rules allow it.
func (r *replica) replace(s *snapReader, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	base, err := r.base(s)
	if err != nil {
		r.stats.Refused++
		return err
	}
	v, err := base.Whole(s.rev, s.events)
	if err != nil {
		return err
	}
	if !s.last.sums(v.Digest()) {
		r.stats.Mismatches++
		return fmt.Errorf("topology snapshot of revision %d: its records do not sum up to its digest", s.rev)
	}
	if err := r.doubt.refuses(base, v, now); err != nil {
		r.stats.Refused++
		r.lost = true
		return err
	}
	r.store, r.stored, r.lost = s.store, false, false
	r.stats.Snapshots++
	r.show(v)
	return nil
}

// base is the view that a snapshot replaces, or an error if it must not; r.mu is held.
func (r *replica) base(s *snapReader) (*topology.View, error) {
	if r.view == nil {
		return &topology.View{}, nil
	}
	uuid, generation := splitID(s.store)
	haveUUID, haveGeneration := splitID(r.store)
	switch {
	case s.store == r.store && s.rev < r.view.Rev:
		return nil, fmt.Errorf("topology: a snapshot of revision %d after %d: an old replica", s.rev, r.view.Rev)
	case s.store == r.store:
		return r.view, nil
	case uuid != haveUUID && r.stored:
		r.log.Warn("the topology on disk is of another platform, it is not used", "of", r.store, "now", s.store)
		return &topology.View{}, nil
	case uuid != haveUUID:
		return nil, fmt.Errorf("topology: the control plane's store is %s, not %s any more: another platform", s.store, r.store)
	case generation <= haveGeneration:
		return nil, fmt.Errorf("topology: the control plane's store is %s, older than %s", s.store, r.store)
	}
	return r.view, nil
}

// show makes v the copy and hands it to the readers; r.mu is held.
func (r *replica) show(v *topology.View) {
	r.view = v
	if r.shown != nil && v.Rev+r.shift <= r.shown.Rev {
		if v.Digest() == r.shown.Digest() {
			return
		}
		r.shift = r.shown.Rev + 1 - v.Rev
	}
	if r.shift > 0 {
		shifted := *v
		shifted.Rev += r.shift
		v = &shifted
	}
	r.shown = v
	r.out.Set(v)
}

// splitID takes a store's id apart: uuid.generation.
func splitID(id string) (uuid string, generation int64) {
	i := strings.LastIndexByte(id, '.')
	if i < 0 {
		return id, 0
	}
	n, err := strconv.ParseInt(id[i+1:], 10, 64)
	if err != nil {
		return id, 0
	}
	return id[:i], n
}

// snapReader gathers the frames of a snapshot.
type snapReader struct {
	open   bool // begun, and not at its end
	store  string
	rev    store.Revision
	events []store.Event
	last   frame
}

// add takes a frame; whole, if it was the last one.
func (s *snapReader) add(f *frame) (whole bool, err error) {
	if !s.open {
		*s = snapReader{open: true, store: f.Store, rev: f.Rev}
	}
	if f.Store != s.store || f.Rev != s.rev {
		return false, fmt.Errorf("topology snapshot: its frames are of %s at %d and of %s at %d", s.store, s.rev, f.Store, f.Rev)
	}
	s.events = append(s.events, f.events()...)
	s.last, s.open = *f, f.More
	s.last.Changes = nil
	return !f.More, nil
}
