// Package leases keeps the time of leases for the engines that live in one process.
//
// The engine is the only one that ends a lease, so a lease is renewed by
// noting the time: what may pause is only the whole process.
package leases

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
)

// retryEvery is how often a lease that could not be ended (a full disk) is tried again.
const retryEvery = time.Second

// End ends a lease in the engine: its keys are deleted, and it is forgotten.
// A lease that has ended already is no error.
type End func(ctx context.Context, id store.LeaseID) error

// Keeper owns one goroutine for each lease. Create it with [New].
type Keeper struct {
	end    End
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// New returns a keeper that ends leases with end.
func New(end End) *Keeper {
	k := &Keeper{end: end}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Hold renews the lease id from now on, until ctx ends or it is revoked.
func (k *Keeper) Hold(ctx context.Context, id store.LeaseID, ttl time.Duration) (store.Lease, error) {
	return k.start(ctx, id, ttl)
}

// Adopt lets a lease of an earlier run end after a full ttl.
func (k *Keeper) Adopt(id store.LeaseID, ttl time.Duration) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := k.start(ended, id, ttl)
	return err
}

// Close stops all renewals and waits for the keeper's goroutines. It ends no lease.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.running.Wait()
}

func (k *Keeper) start(ctx context.Context, id store.LeaseID, ttl time.Duration) (*lease, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, store.ErrClosed
	}
	l := &lease{
		keeper: k, id: id, ttl: ttl, deadline: time.Now().Add(ttl),
		done: make(chan struct{}), revoke: make(chan struct{}), ended: make(chan struct{}),
	}
	k.running.Go(func() { l.run(ctx) })
	return l, nil
}

type lease struct {
	keeper *Keeper
	id     store.LeaseID
	ttl    time.Duration
	done   chan struct{} // no longer renewed
	revoke chan struct{} // asked to end
	ended  chan struct{} // the engine has forgotten it
	once   sync.Once
	finish sync.Once

	mu       sync.Mutex
	deadline time.Time
}

var _ store.Lease = (*lease)(nil)

func (l *lease) ID() store.LeaseID     { return l.id }
func (l *lease) TTL() time.Duration    { return l.ttl }
func (l *lease) Done() <-chan struct{} { return l.done }

func (l *lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline
}

// Revoke implements [store.Lease]. Renewals stop even if it returns an error;
// the lease then ends by itself.
func (l *lease) Revoke(ctx context.Context) error {
	l.once.Do(func() { close(l.revoke) })
	select {
	case <-l.done: // from here on, nobody takes it for alive
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-l.ended:
		return nil
	default:
	}
	if err := l.keeper.end(ctx, l.id); err != nil {
		return err
	}
	l.finish.Do(func() { close(l.ended) })
	return nil
}

func (l *lease) run(ctx context.Context) {
	l.renew(ctx)
	close(l.done)
	for wait := time.Until(l.Deadline()); ; wait = retryEvery {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.ended:
			timer.Stop()
			return
		case <-l.keeper.ctx.Done():
			timer.Stop()
			return
		}
		err := l.keeper.end(l.keeper.ctx, l.id)
		if err == nil {
			l.finish.Do(func() { close(l.ended) })
			return
		}
		if errors.Is(err, store.ErrClosed) {
			return
		}
	}
}

// renew moves the deadline until nobody wants the lease any more.
func (l *lease) renew(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	tick := time.NewTicker(max(l.ttl/3, 1))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.mu.Lock()
			l.deadline = time.Now().Add(l.ttl)
			l.mu.Unlock()
		case <-ctx.Done():
			return
		case <-l.revoke:
			return
		case <-l.keeper.ctx.Done():
			return
		}
	}
}
