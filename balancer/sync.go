package balancer

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

const (
	defaultPause = 50 * time.Millisecond
	// Bounds of the pause after a failure; it doubles from one to the other.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// Sync keeps a backend at what the topology says: it follows views, makes a
// table of the newest, and applies it if it routes otherwise than the last
// one. While a table is being applied, newer views replace each other.
type Sync struct {
	Source  topology.Source
	Backend Backend
	// Pause is the least time from one Apply to the next. A change that comes
	// after a longer silence is applied at once. Default 50 ms;
	// negative: none.
	Pause time.Duration
	// Log gets what fails. Default: nowhere.
	Log *slog.Logger
}

// Run follows the source until ctx ends, and then returns nil. A source or a
// backend that fails is tried again, with a pause that grows to 10 s, and the
// backend keeps the table it has: old routes beat none. Run may be called once
// at a time.
func (s *Sync) Run(ctx context.Context) error {
	views := make(chan *topology.View, 1)
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx, views) })
	s.apply(ctx, views)
	wg.Wait()
	return nil
}

// follow puts the newest view into the channel, in the place of an older one.
func (s *Sync) follow(ctx context.Context, views chan *topology.View) {
	var rev store.Revision
	for failures := 0; ctx.Err() == nil; {
		v, err := s.Source.Next(ctx, rev)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			wait := backoff(failures)
			s.log().Warn("balancer: the topology cannot be read", "error", err, "retry", wait)
			sleep(ctx, wait)
			continue
		}
		failures, rev = 0, v.Rev
		select {
		case <-views: // nobody took it, and nobody needs it any more
		default:
		}
		views <- v // has room: this is the only sender
	}
}

// apply brings the backend to the newest view, again and again.
func (s *Sync) apply(ctx context.Context, views <-chan *topology.View) {
	var wanted, applied *Table
	for failures := 0; ; {
		v := newest(ctx, views, failures > 0)
		began := time.Now()
		if v != nil {
			wanted = Routes(v)
		}
		if ctx.Err() != nil {
			return
		}
		if wanted.Same(applied) {
			// Most changes are of no interest here. To find that out takes as long
			// as the table is large: it may not take more than half of the time.
			sleep(ctx, min(time.Since(began), cmp.Or(s.Pause, defaultPause)))
			continue
		}
		err := s.Backend.Apply(ctx, wanted)
		if err == nil {
			failures, applied = 0, wanted
			s.log().Debug("balancer: table applied", "rev", wanted.Rev, "routes", len(wanted.Routes), "clusters", len(wanted.Clusters))
			sleep(ctx, cmp.Or(s.Pause, defaultPause))
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		wait := backoff(failures)
		s.log().Error("balancer: the table was not applied; the former one stays", "rev", wanted.Rev, "error", err, "retry", wait)
		// What the backend has now is its promise, not our knowledge: apply the
		// next table even if it is the former one.
		applied = nil
		sleep(ctx, wait)
	}
}

// newest returns the newest view that was not taken yet. If there is none, it
// waits for it, or, when a retry is due, returns nil at once.
func newest(ctx context.Context, views <-chan *topology.View, due bool) *topology.View {
	if due {
		select {
		case v := <-views:
			return v
		default:
			return nil
		}
	}
	select {
	case v := <-views:
		return v
	case <-ctx.Done():
		return nil
	}
}

func (s *Sync) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// backoff is the pause after so many failures in a row: between half and the
// whole of a time that doubles, so that many balancers do not come at once.
func backoff(failures int) time.Duration {
	d := min(minBackoff<<min(failures-1, 16), maxBackoff)
	return d/2 + rand.N(d/2)
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
