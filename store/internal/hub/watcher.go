package hub

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
)

// progressAfter leaves a margin, so that a busy machine keeps [store.ProgressEvery] too.
const progressAfter = store.ProgressEvery * 4 / 5

// watcher is a cursor in the order of transactions.
type watcher struct {
	hub    *Hub
	prefix string
	closed chan struct{}
	once   sync.Once

	turn    chan struct{}  // held by the one Next that runs; guards what follows
	pending []store.Batch  // fetched, not yet looked at
	cursor  store.Revision // everything up to here was looked at
	last    store.Revision // the last revision handed out
	spoke   time.Time      // when that was
	slow    bool           // SlowError was handed out
}

var _ store.Watcher = (*watcher)(nil)

func newWatcher(h *Hub, prefix string, after store.Revision) *watcher {
	return &watcher{
		hub: h, prefix: prefix, closed: make(chan struct{}), turn: make(chan struct{}, 1),
		cursor: after, last: after, spoke: time.Now(),
	}
}

// Close implements [store.Watcher].
func (w *watcher) Close() { w.once.Do(func() { close(w.closed) }) }

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
		b, l, err := w.advance(ctx)
		if err != nil {
			return store.Batch{}, err
		}
		ready := b.Events != nil
		if !ready {
			b.Rev = max(l.head, w.cursor)
			if ready, err = w.wait(ctx, l.wake); err != nil {
				return store.Batch{}, err
			}
		}
		if ready {
			w.last, w.spoke = b.Rev, time.Now()
			return b, nil
		}
	}
}

// end says why there is no next batch, if so.
func (w *watcher) end(ctx context.Context) error {
	select {
	case <-w.closed:
		return store.ErrClosed
	case <-w.hub.closed:
		return store.ErrClosed
	default:
	}
	if w.slow {
		return store.ErrClosed
	}
	return ctx.Err()
}

// advance moves the cursor to the next batch that touches the prefix. Without
// one, it returns what the hub looked like when there was nothing more.
func (w *watcher) advance(ctx context.Context) (store.Batch, look, error) {
	for {
		if err := w.end(ctx); err != nil {
			return store.Batch{}, look{}, err
		}
		for len(w.pending) > 0 {
			b := w.pending[0]
			w.pending = w.pending[1:]
			if b.Rev <= w.cursor {
				continue // read from the history before it was published
			}
			w.cursor = b.Rev
			if events := w.below(b.Events); len(events) > 0 {
				return store.Batch{Rev: b.Rev, Events: events}, look{}, nil
			}
		}
		l := w.hub.look(w.cursor)
		if !l.older && len(l.batches) == 0 {
			w.pending = nil
			return store.Batch{}, l, nil
		}
		w.pending = l.batches
		if l.older {
			if err := w.fetch(l.base); err != nil {
				return store.Batch{}, look{}, err
			}
		}
	}
}

// fetch reads from the engine's history what the hub has no longer in memory.
func (w *watcher) fetch(base store.Revision) error {
	batches, err := w.hub.history.After(w.cursor)
	var compacted *store.CompactedError
	if errors.As(err, &compacted) {
		w.slow = true
		return &store.SlowError{Last: w.last}
	}
	if err != nil {
		return err
	}
	w.pending = batches
	if len(batches) == 0 {
		w.cursor = base // revisions have gaps: nothing was in this one
	}
	return nil
}

// wait waits for something new, and returns true if a progress mark is due first.
func (w *watcher) wait(ctx context.Context, wake <-chan struct{}) (bool, error) {
	timer := time.NewTimer(progressAfter - time.Since(w.spoke))
	defer timer.Stop()
	select {
	case <-wake:
		return false, nil
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-w.closed:
		return false, store.ErrClosed
	case <-w.hub.closed:
		return false, store.ErrClosed
	}
}

// below returns those events whose keys begin with the prefix.
func (w *watcher) below(events []store.Event) []store.Event {
	n := 0
	for _, e := range events {
		if strings.HasPrefix(e.Key, w.prefix) {
			n++
		}
	}
	if n == len(events) {
		return events
	}
	if n == 0 {
		return nil
	}
	some := make([]store.Event, 0, n)
	for _, e := range events {
		if strings.HasPrefix(e.Key, w.prefix) {
			some = append(some, e)
		}
	}
	return some
}
