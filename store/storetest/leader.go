package storetest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func leaderPromises() []Promise {
	return []Promise{
		{"CampaignHasOneLeaderAtATime", campaignHasOneLeaderAtATime},
		{"OldLeaderIsFenced", oldLeaderIsFenced},
	}
}

// campaignHasOneLeaderAtATime: all win in turn, with growing epochs, and a
// guarded write of each counts.
func campaignHasOneLeaderAtATime(t TB, s store.Store) {
	const candidates = 5
	var leading atomic.Int32
	var epoch atomic.Int64
	g, ctx := errgroup.WithContext(within(t))
	for i := range candidates {
		g.Go(func() error {
			l, err := store.Campaign(ctx, s, "kit", fmt.Sprintf("candidate %d", i), 5*shortTTL)
			if err != nil {
				return err
			}
			if leading.Add(1) != 1 {
				return fmt.Errorf("two leaders at the same time")
			}
			if before := epoch.Swap(int64(l.Epoch())); before >= int64(l.Epoch()) {
				return fmt.Errorf("epoch %d after %d", l.Epoch(), before)
			}
			_, err = s.Commit(l.Context(), store.Txn{If: []store.Cond{l.Guard()}, Then: []store.Op{put("led", fmt.Sprint(i))}})
			if err != nil {
				return err
			}
			leading.Add(-1)
			return l.Resign(ctx)
		})
	}
	require.NoError(t, g.Wait())
	absent(t, s, store.LeaderPrefix+"kit")
}

func oldLeaderIsFenced(t TB, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	old, err := store.Campaign(ctx, s, "kit", "old", shortTTL)
	require.NoError(t, err)
	cancel() // no longer renewed, as if its process had stopped
	now, err := store.Campaign(within(t), s, "kit", "new", shortTTL)
	require.NoError(t, err)
	require.Greater(t, now.Epoch(), old.Epoch())

	_, err = s.Commit(within(t), store.Txn{If: []store.Cond{old.Guard()}, Then: []store.Op{put("a", "old")}})
	var fenced *store.FencedError
	require.ErrorAs(t, err, &fenced)
	_, err = s.Commit(within(t), store.Txn{If: []store.Cond{now.Guard()}, Then: []store.Op{put("a", "new")}})
	require.NoError(t, err)
	require.Equal(t, "new", string(get(t, s, "a").Value))
	require.NoError(t, now.Resign(within(t)))
}
