package etcd

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/retention"
)

// compactEvery is how often a replica looks whether history has become long.
const compactEvery = time.Minute

// Compact implements [store.Store]. It concerns the whole cluster.
func (s *Store) Compact(ctx context.Context, upTo store.Revision) error {
	if upTo <= 0 {
		return ctx.Err()
	}
	err := s.again(ctx, fmt.Sprintf("compact up to revision %d", upTo), func(ctx context.Context) error {
		_, err := s.client.Compact(ctx, int64(upTo))
		return err
	})
	if isAny(err, rpctypes.ErrCompacted) {
		return nil
	}
	return err
}

// compactLoop forgets history as the policy says. Replicas that do so at the
// same time do not disturb each other: what is forgotten already is no error.
func (s *Store) compactLoop() {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	keeper := retention.Keeper{Policy: s.keep}
	var done store.Revision
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-tick.C:
			var err error
			if done, err = s.compactOld(&keeper, now, done); isAny(err, rpctypes.ErrPermissionDenied) {
				s.log.Warn("etcd: history is not compacted, as only root may: let etcd do it, with --auto-compaction-mode and --auto-compaction-retention")
				return
			}
		}
	}
}

// compactOld makes one round, and returns what is compacted then. After an
// error, the next round comes soon.
func (s *Store) compactOld(keeper *retention.Keeper, now time.Time, done store.Revision) (store.Revision, error) {
	head, err := s.current(s.ctx)
	if err != nil {
		return done, err
	}
	upTo := keeper.Horizon(now, head, done)
	if upTo == 0 {
		return done, nil
	}
	if err := s.Compact(s.ctx, upTo); err != nil {
		return done, err
	}
	return upTo, nil
}

// current returns the newest revision.
func (s *Store) current(ctx context.Context) (store.Revision, error) {
	resp, err := s.read(ctx, "the newest revision", clientv3.OpGet(s.idKey, clientv3.WithCountOnly()))
	if err != nil {
		return 0, err
	}
	return s.see(resp.Header.Revision), nil
}

// compacted returns the *store.CompactedError of a start at rev: only a watch
// is told which start would have been possible.
func (s *Store) compacted(ctx context.Context, rev store.Revision) error {
	current, err := s.current(ctx)
	if err != nil {
		return err
	}
	call, cancel, err := s.begin(ctx, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	w := clientv3.NewWatcher(s.client)
	defer w.Close()
	for resp := range w.Watch(clientv3.WithRequireLeader(call), s.idKey, clientv3.WithRev(int64(max(rev, 1)))) {
		if resp.CompactRevision != 0 {
			oldest := store.Revision(resp.CompactRevision)
			return &store.CompactedError{Oldest: oldest, Current: max(current, oldest)}
		}
		if err := resp.Err(); err != nil {
			return s.explain(ctx, "watch", err)
		}
	}
	return s.explain(ctx, "watch", context.Cause(call))
}
