package storetest_test

import (
	"context"
	"time"

	"github.com/gostratos/stratos/store"
)

// brokenLease is a lease with a mutation.
type brokenLease struct {
	store.Lease
	store store.Store

	id       store.LeaseID
	late     time.Duration // added to the deadline
	noDone   bool
	noRevoke func(context.Context) bool
	before   func(context.Context) error // what Revoke does first
}

func (l *brokenLease) ID() store.LeaseID {
	if l.id != 0 {
		return l.id
	}
	return l.Lease.ID()
}

func (l *brokenLease) Deadline() time.Time { return l.Lease.Deadline().Add(l.late) }

func (l *brokenLease) Done() <-chan struct{} {
	if l.noDone {
		return nil
	}
	return l.Lease.Done()
}

func (l *brokenLease) Revoke(ctx context.Context) error {
	if l.noRevoke != nil && l.noRevoke(ctx) {
		return ctx.Err()
	}
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return err
		}
	}
	return l.Lease.Revoke(ctx)
}

// keysOneByOne deletes the keys of the lease before it is revoked.
func (l *brokenLease) keysOneByOne(ctx context.Context) error {
	page, err := l.store.List(ctx, "", store.ReadOptions{})
	for _, kv := range page.KVs {
		if err == nil && kv.Lease == l.ID() {
			_, err = l.store.Commit(ctx, store.Txn{Then: []store.Op{{Key: kv.Key, Delete: true}}})
		}
	}
	return err
}

// shorter grants less than what was asked for.
func shorter(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	return s.Grant(ctx, ttl/2)
}

// anyTTL grants a lease that makes no sense.
func anyTTL(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	return s.Grant(ctx, max(ttl, 1))
}

// endsEarly revokes a lease halfway after it is no longer renewed.
func endsEarly(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	l, err := s.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		time.AfterFunc(ttl/4, func() { _ = l.Revoke(context.Background()) })
	})
	return l, nil
}

func notRenewed(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	once, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.Grant(once, ttl)
}

func neverEnds(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	return s.Grant(context.WithoutCancel(ctx), ttl)
}
