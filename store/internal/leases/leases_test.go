package leases_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/leases"
)

const ttl = 30 * time.Second

// engine notes when leases end, and fails as often as it is told.
type engine struct {
	mu    sync.Mutex
	fails int
	ends  map[store.LeaseID]time.Time
}

func (e *engine) end(_ context.Context, id store.LeaseID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails > 0 {
		e.fails--
		return store.ErrFull
	}
	e.ends[id] = time.Now()
	return nil
}

func (e *engine) ended(id store.LeaseID) (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.ends[id]
	return at, ok
}

func run(t *testing.T, f func(t *testing.T, k *leases.Keeper, e *engine)) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{ends: make(map[store.LeaseID]time.Time)}
		k := leases.New(e.end)
		f(t, k, e)
		k.Close()
	})
}

// hold grants lease 1 and lets it be for a while.
func hold(t *testing.T, ctx context.Context, k *leases.Keeper, d time.Duration) store.Lease {
	l, err := k.Hold(ctx, 1, ttl)
	require.NoError(t, err)
	pass(d)
	return l
}

// pass lets fake time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestHeldLeaseLives(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		l := hold(t, t.Context(), k, time.Hour)
		_, ended := e.ended(1)
		require.False(t, ended)
		require.GreaterOrEqual(t, time.Until(l.Deadline()), ttl*2/3)
		require.LessOrEqual(t, time.Until(l.Deadline()), ttl)
	})
}

func TestAbandonedLeaseEndsAtItsDeadline(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		ctx, cancel := context.WithCancel(t.Context())
		l := hold(t, ctx, k, 47*time.Second)
		cancel()
		<-l.Done()
		deadline := l.Deadline()
		pass(2 * ttl)
		at, ended := e.ended(1)
		require.True(t, ended)
		require.Equal(t, deadline, at)
		require.NoError(t, l.Revoke(t.Context()))
	})
}

func TestAdoptedLeaseHasAFullTTL(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		start := time.Now()
		require.NoError(t, k.Adopt(1, ttl))
		pass(2 * ttl)
		at, ended := e.ended(1)
		require.True(t, ended)
		require.Equal(t, start.Add(ttl), at)
	})
}

func TestFailedEndIsTriedAgain(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		e.fails = 10
		require.NoError(t, k.Adopt(1, ttl))
		pass(2 * ttl)
		_, ended := e.ended(1)
		require.True(t, ended)
	})
}

func TestFailedRevokeEndsByItself(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		l := hold(t, t.Context(), k, time.Second)
		e.fails = 1
		require.ErrorIs(t, l.Revoke(t.Context()), store.ErrFull)
		<-l.Done()
		pass(2 * ttl)
		at, ended := e.ended(1)
		require.True(t, ended)
		require.Equal(t, l.Deadline(), at)
	})
}

func TestCloseEndsNoLease(t *testing.T) {
	run(t, func(t *testing.T, k *leases.Keeper, e *engine) {
		l := hold(t, t.Context(), k, time.Second)
		require.NoError(t, k.Adopt(2, ttl))
		k.Close()
		<-l.Done()
		pass(2 * ttl)
		require.Empty(t, e.ends)
		_, err := k.Hold(t.Context(), 3, ttl)
		require.True(t, errors.Is(err, store.ErrClosed))
	})
}
