package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// LeaderPrefix is where the keys of leaders are.
const LeaderPrefix = "leaders/"

// Leadership is held by the winner of a [Campaign].
type Leadership struct {
	lease Lease
	key   string
	epoch Revision
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// Epoch is the create revision of the leader's key: it grows with every leader.
func (l *Leadership) Epoch() Revision { return l.epoch }

// Guard is the condition that fences a leader. It goes into every write that
// the leader makes, so that a paused old leader changes nothing. A Commit
// whose guard does not hold fails with *FencedError.
func (l *Leadership) Guard() Cond { return Cond{Key: l.key, Kind: CondCreate, Rev: l.epoch} }

// Context ends before the lease does. Calls that cannot be fenced, those to
// clouds, are made with it.
func (l *Leadership) Context() context.Context { return l.ctx }

// Resign gives the leadership up: another campaign wins at once.
func (l *Leadership) Resign(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	return l.lease.Revoke(ctx)
}

// Campaign waits until it leads name, or ctx ends. The leader's key carries id
// and dies with a lease of ttl, which is renewed until ctx ends: the
// leadership ends with it. The caller resigns in the end.
//
// The id names this replica: two replicas that run at the same time never
// share one. A key that an earlier run with the same id left behind is taken
// over at once; any other is waited for.
func Campaign(ctx context.Context, s Store, name, id string, ttl time.Duration) (*Leadership, error) {
	key := LeaderPrefix + name
	lease, err := s.Grant(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("campaign for %s: %w", name, err)
	}
	epoch, err := win(ctx, s, key, id, lease.ID())
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("campaign for %s: %w", name, err), lease.Revoke(ctx))
	}
	l := &Leadership{lease: lease, key: key, epoch: epoch}
	l.ctx, l.stop = context.WithCancel(ctx)
	l.done.Go(l.watchLease)
	return l, nil
}

// watchLease ends the leadership's context while the lease still has a third of its time.
func (l *Leadership) watchLease() {
	defer l.stop()
	for {
		left := time.Until(l.lease.Deadline()) - l.lease.TTL()/3
		if left <= 0 {
			return
		}
		select {
		case <-l.ctx.Done():
			return
		case <-l.lease.Done():
			return
		case <-time.After(left):
		}
	}
}

// win creates the leader's key, and waits while somebody else has it.
func win(ctx context.Context, s Store, key, id string, lease LeaseID) (Revision, error) {
	for {
		rev, err := s.Commit(ctx, Txn{
			If:   []Cond{{Key: key}},
			Then: []Op{{Key: key, Value: []byte(id), Lease: lease}},
		})
		var unknown *UnknownError
		var conflict *ConflictError
		switch {
		case err == nil:
			return rev, nil
		case !errors.As(err, &unknown) && !errors.As(err, &conflict):
			return 0, err
		}
		held, at, err := s.Get(ctx, key, ReadOptions{})
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return 0, err
		case held.Lease == lease:
			return held.Create, nil // an unknown outcome that was ours
		case string(held.Value) == id:
			err = dropKey(ctx, s, held)
		default:
			err = awaitChange(ctx, s, key, at)
		}
		if err != nil {
			return 0, err
		}
	}
}

// dropKey deletes what an earlier run with the same id left.
func dropKey(ctx context.Context, s Store, held KV) error {
	_, err := s.Commit(ctx, Txn{
		If:   []Cond{{Key: held.Key, Kind: CondMod, Rev: held.Mod}},
		Then: []Op{{Key: held.Key, Delete: true}},
	})
	var conflict *ConflictError
	var unknown *UnknownError
	if errors.As(err, &conflict) || errors.As(err, &unknown) {
		return nil // win looks again
	}
	return err
}

// awaitChange returns after something happened to key after rev.
func awaitChange(ctx context.Context, s Store, key string, rev Revision) error {
	w, err := s.Watch(ctx, key, rev)
	var compacted *CompactedError
	if errors.As(err, &compacted) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		b, err := w.Next(ctx)
		var slow *SlowError
		if errors.As(err, &slow) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range b.Events {
			if e.Key == key {
				return nil
			}
		}
	}
}
