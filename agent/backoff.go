package agent

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces out attempts: pauses double from First to Max.
type backoff struct {
	First, Max time.Duration
	Eager      bool // the very first pause is none

	begun bool
	next  time.Duration
}

// Next returns how long to wait now: between a half and the whole of the present
// pause, so that many agents do not knock together.
func (b *backoff) Next() time.Duration {
	if !b.begun && b.Eager {
		b.begun = true
		return 0
	}
	d := max(b.next, b.First)
	b.next = min(2*d, b.Max)
	return d/2 + rand.N(d/2+1)
}

// Pause waits, and reports whether ctx is still alive.
func (b *backoff) Pause(ctx context.Context) bool { return pause(ctx, b.Next()) }

// Reset begins anew.
func (b *backoff) Reset() { b.next, b.begun = 0, false }

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// wake rings a bell of size one: rings coalesce.
func wake(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
