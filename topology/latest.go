package topology

import (
	"context"
	"sync"

	"github.com/gostratos/stratos/store"
)

// Latest holds the newest view and hands it to whoever waits: the [Source]
// that others are made of. Its zero value is empty. It may be used concurrently.
type Latest struct {
	mu      sync.Mutex
	view    *View         // nil before the first Set
	changed chan struct{} // closed and replaced when view changes
}

var _ Source = (*Latest)(nil)

// Next implements [Source].
func (l *Latest) Next(ctx context.Context, after store.Revision) (*View, error) {
	for {
		l.mu.Lock()
		v, changed := l.view, l.waiter()
		l.mu.Unlock()
		if v != nil && v.Rev > after {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Set makes v the newest view. A view that is not newer than the present one
// is passed over: nobody ever sees the topology go back.
func (l *Latest) Set(v *View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.view != nil && v.Rev <= l.view.Rev {
		return
	}
	l.view = v
	close(l.waiter())
	l.changed = nil
}

// waiter returns the channel that the next change closes; l.mu is held.
func (l *Latest) waiter() chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
