package etcd

import (
	"context"
	"errors"
	"sync"

	"github.com/gostratos/stratos/store"
)

// How much a watcher keeps for a reader that is not there. Beyond either, its
// stream is closed until the reader has caught up by half.
const (
	queueBatches = 1024
	queueBytes   = 16 << 20
)

// watcher is a queue with a bound between a pump and a reader.
type watcher struct {
	cancel context.CancelFunc // ends the pump
	turn   chan struct{}      // held by the one Next that runs
	wake   chan struct{}      // there is something to read
	room   chan struct{}      // something was read
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	queue []store.Batch
	bytes int
	known store.Revision // a progress mark that follows the queue; 0 for none
	last  store.Revision // handed out
	end   error          // what follows the queue
}

var _ store.Watcher = (*watcher)(nil)

func newWatcher(after store.Revision) *watcher {
	return &watcher{
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		closed: make(chan struct{}), last: after,
	}
}

// Close implements [store.Watcher].
func (w *watcher) Close() {
	w.once.Do(func() {
		close(w.closed)
		w.cancel()
	})
}

// Next implements [store.Watcher]. Several callers take turns.
func (w *watcher) Next(ctx context.Context) (store.Batch, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return store.Batch{}, ctx.Err()
	case <-w.closed:
		return store.Batch{}, store.ErrClosed
	}
	for {
		select {
		case <-w.closed:
			return store.Batch{}, store.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return store.Batch{}, err
		}
		if b, ok, err := w.pop(); ok || err != nil {
			return b, err
		}
		select {
		case <-w.wake:
		case <-w.closed:
		case <-ctx.Done():
		}
	}
}

// pop takes the next batch, or the end if there is none.
func (w *watcher) pop() (store.Batch, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.end, store.ErrClosed) {
		return store.Batch{}, false, store.ErrClosed
	}
	if len(w.queue) == 0 {
		var slow *store.SlowError
		if errors.As(w.end, &slow) {
			w.end = store.ErrClosed
			return store.Batch{}, false, &store.SlowError{Last: w.last}
		}
		if w.known == 0 {
			return store.Batch{}, false, nil
		}
		b := store.Batch{Rev: w.known}
		w.known, w.last = 0, b.Rev
		return b, true, nil
	}
	b := w.queue[0]
	w.queue[0] = store.Batch{}
	w.queue = w.queue[1:]
	w.bytes -= size(b)
	w.last = b.Rev
	signal(w.room)
	return b, true, nil
}

// push appends batches, and reports whether the reader keeps up. A progress
// mark that was not read yet is out of date with them.
func (w *watcher) push(batches []store.Batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range batches {
		w.bytes += size(b)
	}
	if len(batches) > 0 {
		w.known = 0
		w.queue = append(w.queue, batches...)
		signal(w.wake)
	}
	return len(w.queue) <= queueBatches && w.bytes <= queueBytes
}

// mark sets the progress mark that follows the queue.
func (w *watcher) mark(rev store.Revision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = rev
	signal(w.wake)
}

// finish lets the watcher end with err: a *store.SlowError after what is in
// the queue, store.ErrClosed at once. The first end counts.
func (w *watcher) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end == nil {
		w.end = err
	}
	signal(w.wake)
}

// awaitRoom waits until half of the queue was read. It reports false if ctx ends first.
func (w *watcher) awaitRoom(ctx context.Context) bool {
	for {
		w.mu.Lock()
		enough := len(w.queue) <= queueBatches/2 && w.bytes <= queueBytes/2
		w.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-w.room:
		case <-ctx.Done():
			return false
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func size(b store.Batch) int {
	n := 0
	for _, e := range b.Events {
		n += len(e.Key) + len(e.Value) + 64
	}
	return n
}
