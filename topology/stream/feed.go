package stream

import (
	"cmp"
	"slices"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Limits of a feed's ring, in bytes. A reader that is further behind is better
// off with a snapshot, which for a small scope is small.
const (
	ringAll   = 4 << 20
	ringScope = 64 << 10
)

// message is an encoded frame that ends at a revision.
type message struct {
	rev  store.Revision
	line []byte
}

// feed is what the subscribers of one scope share: the last frames, encoded
// once. A subscriber is a cursor into it. The relay's lock guards it.
type feed struct {
	scope Scope
	users int

	ring   []message
	first  uint64         // number of ring[0] among all frames that ever were
	size   int            // bytes in ring
	floor  store.Revision // what changed after it is in ring
	rev    store.Revision // of the last frame
	digest topology.Digest
	wake   chan struct{} // closed and replaced when a frame comes

	pending [][]byte // changes of the frame that is being made
}

// newFeed begins a feed at a view.
func newFeed(scope Scope, v *topology.View) *feed {
	f := &feed{scope: scope, floor: v.Rev, digest: scope.digest(v), wake: make(chan struct{})}
	if scope.kind == kindCluster {
		// The view tells when the cluster last changed: whoever has seen that,
		// which after a break is nearly everybody, missed nothing.
		if c := v.Cluster(topology.ClusterID(scope.name)); c != nil {
			f.floor = c.Rev
		}
	}
	f.rev = f.floor
	return f
}

// add takes a changed cluster in.
func (f *feed) add(m *move) error {
	had, has := f.scope.has(m.before), f.scope.has(m.now)
	line, err := m.delta, error(nil)
	switch {
	case !had && !has:
		return nil
	case !had && m.before != nil: // it moved into the scope
		line, err = changes(nil, m.now)
	case !has && m.now != nil: // it moved out
		line, err = changes(m.before, nil)
	}
	if had {
		f.digest = f.digest.Minus(m.before.Digest())
	}
	if has {
		f.digest = f.digest.Plus(m.now.Digest())
	}
	if len(line) > 0 {
		f.pending = append(f.pending, line)
	}
	return err
}

// flush makes a frame of what was added, and wakes the subscribers.
func (f *feed) flush(rev store.Revision) {
	if len(f.pending) == 0 {
		return
	}
	m := message{rev: rev, line: evLine(f.rev, rev, f.pending)}
	f.pending, f.rev = nil, rev
	f.ring = append(f.ring, m)
	f.size += len(m.line)
	limit := ringScope
	if f.scope == (Scope{}) {
		limit = ringAll
	}
	for f.size > limit {
		f.floor = f.ring[0].rev
		f.size -= len(f.ring[0].line)
		f.ring[0] = message{} // the array below lives on for a while
		f.ring = f.ring[1:]
		f.first++
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// cursor is where a subscriber that has seen after goes on; not ok if what
// came since is not known any more.
func (f *feed) cursor(after store.Revision) (next uint64, ok bool) {
	if after < f.floor {
		return 0, false
	}
	i, found := slices.BinarySearchFunc(f.ring, after, func(m message, rev store.Revision) int { return cmp.Compare(m.rev, rev) })
	if found {
		i++
	}
	return f.first + uint64(i), true
}
