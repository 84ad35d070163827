package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
)

// Grant implements [store.Store]. etcd counts in seconds and has a shortest
// ttl: a lease lives at least as long as was asked for.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("%w: a lease of %s", store.ErrInvalid, ttl)
	}
	seconds := int64((ttl-1)/time.Second) + 1
	sent := time.Now()
	var resp *clientv3.LeaseGrantResponse
	err := s.again(ctx, "grant a lease", func(ctx context.Context) (err error) {
		resp, err = s.client.Grant(ctx, seconds)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := &lease{store: s, id: resp.ID, ttl: time.Duration(resp.TTL) * time.Second, done: make(chan struct{})}
	l.deadline = sent.Add(l.ttl)
	var renewing context.Context
	renewing, l.stop = context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ctx, l.stop)
	if !s.start(func() { defer unhook(); l.renew(renewing) }) {
		l.stop()
		return nil, store.ErrClosed
	}
	return l, nil
}

type lease struct {
	store *Store
	id    clientv3.LeaseID
	ttl   time.Duration
	stop  context.CancelFunc // ends the renewals
	done  chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

var _ store.Lease = (*lease)(nil)

func (l *lease) ID() store.LeaseID     { return store.LeaseID(l.id) }
func (l *lease) TTL() time.Duration    { return l.ttl }
func (l *lease) Done() <-chan struct{} { return l.done }

func (l *lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline
}

// Revoke implements [store.Lease].
func (l *lease) Revoke(ctx context.Context) error {
	l.stop()
	select {
	case <-l.done: // from here on, nobody takes it for alive
	case <-ctx.Done():
		return ctx.Err()
	}
	err := l.store.again(ctx, "revoke a lease", func(ctx context.Context) error {
		_, err := l.store.client.Revoke(ctx, l.id)
		if isAny(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
	return err
}

// renew moves the deadline until ctx or the lease ends. Each attempt leaves
// time for others, with other servers, before the deadline.
func (l *lease) renew(ctx context.Context) {
	defer close(l.done)
	defer l.stop()
	for wait := l.ttl / 3; ; {
		left := time.Until(l.Deadline())
		if left <= 0 {
			l.store.log.Warn("etcd: a lease could not be renewed in time", "lease", l.id, "ttl", l.ttl)
			return
		}
		timer := time.NewTimer(min(wait, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		sent := time.Now()
		err := l.renewOnce(ctx, sent)
		switch {
		case ctx.Err() != nil, isAny(err, rpctypes.ErrLeaseNotFound):
			return
		case err == nil:
			wait = l.ttl/3 - time.Since(sent)
		default:
			wait = l.ttl / 20
		}
	}
}

// renewOnce makes an attempt that ends before the deadline.
func (l *lease) renewOnce(ctx context.Context, sent time.Time) error {
	attempt, cancel := context.WithDeadline(ctx, minTime(sent.Add(l.ttl/6), l.Deadline()))
	defer cancel()
	resp, err := l.store.client.KeepAliveOnce(attempt, l.id)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = sent.Add(time.Duration(resp.TTL) * time.Second)
	return nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
