// Package hub hands the transactions of an engine to its watchers.
//
// A watcher is a cursor, not a queue: it pulls, so it costs the store nothing
// while nobody reads from it. The newest batches are shared in memory; what is
// older comes from the engine's own history, and what is older than that is a
// [store.SlowError].
package hub

import (
	"sort"
	"sync"

	"github.com/gostratos/stratos/store"
)

// How much of the newest history is kept in memory.
const (
	tailBatches = 1024
	tailBytes   = 16 << 20
)

// History is where an engine keeps its transactions.
type History interface {
	// After returns transactions after rev, whole and in order: all of them,
	// or the first few, but at least one if there are any. A rev that was
	// compacted away is a *store.CompactedError.
	After(rev store.Revision) ([]store.Batch, error)
}

// Hub wakes the watchers of one store. Create it with [New].
type Hub struct {
	history History
	closed  chan struct{}

	mu    sync.Mutex
	tail  []store.Batch  // the newest transactions; never changed in place, as watchers share it
	bytes int            // of tail
	base  store.Revision // tail holds everything after base
	head  store.Revision // the newest published revision
	wake  chan struct{}  // closed, and replaced, when head moves
	ended bool
}

// New returns a hub for an engine whose newest transaction is head.
func New(h History, head store.Revision) *Hub {
	return &Hub{history: h, base: head, head: head, wake: make(chan struct{}), closed: make(chan struct{})}
}

// Publish tells the watchers of committed transactions. The engine calls it in
// the order of their revisions, after they are durable.
func (h *Hub) Publish(batches ...store.Batch) {
	if len(batches) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range batches {
		h.bytes += size(b)
	}
	h.tail = append(h.tail, batches...)
	drop := 0
	for drop < len(h.tail) && (len(h.tail)-drop > tailBatches || h.bytes > tailBytes) {
		h.bytes -= size(h.tail[drop])
		h.base = h.tail[drop].Rev
		drop++
	}
	if drop > 0 { // a copy: the old array is what watchers may still be reading
		h.tail = append(make([]store.Batch, 0, len(h.tail)-drop+tailBatches/4), h.tail[drop:]...)
	}
	h.head = batches[len(batches)-1].Rev
	close(h.wake)
	h.wake = make(chan struct{})
}

// Close ends all watchers with [store.ErrClosed].
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.ended = true
		close(h.closed)
	}
}

// Watch returns a watcher of prefix that starts after the revision after. The
// engine has checked that this start is neither compacted nor in the future.
func (h *Hub) Watch(prefix string, after store.Revision) store.Watcher {
	return newWatcher(h, prefix, after)
}

// look is what the hub knows to be after a revision.
type look struct {
	batches []store.Batch
	older   bool           // the tail does not reach back that far: ask the history
	base    store.Revision // where the tail begins
	head    store.Revision
	wake    <-chan struct{}
}

func (h *Hub) look(after store.Revision) look {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := look{older: after < h.base, base: h.base, head: h.head, wake: h.wake}
	if !l.older {
		i := sort.Search(len(h.tail), func(i int) bool { return h.tail[i].Rev > after })
		l.batches = h.tail[i:len(h.tail):len(h.tail)]
	}
	return l
}

func size(b store.Batch) int {
	n := 0
	for _, e := range b.Events {
		n += len(e.Key) + len(e.Value) + 64
	}
	return n
}
