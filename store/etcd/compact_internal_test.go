package etcd

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/retention"
)

// TestOldHistoryIsForgotten: two replicas compact by the same policy.
func TestOldHistoryIsForgotten(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{})
	var replicas [2]*Store
	var keepers [2]retention.Keeper
	var done [2]store.Revision
	for i := range replicas {
		s, err := Open(t.Context(), Config{Endpoints: c.Endpoints()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		replicas[i] = s
		keepers[i].Policy = retention.Policy{Revisions: 20, For: time.Minute}
	}
	now := time.Now()
	first, err := replicas[0].current(t.Context())
	require.NoError(t, err)
	for round := range 4 {
		for i := range replicas {
			done[i], err = replicas[i].compactOld(&keepers[i], now, done[i])
			require.NoError(t, err)
		}
		if round < 2 {
			require.Zero(t, done[0], "too young")
		}
		for n := range 20 {
			_, err := replicas[0].Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "a", Value: fmt.Append(nil, round, n)}}})
			require.NoError(t, err)
		}
		now = now.Add(30 * time.Second)
	}
	require.Equal(t, done[0], done[1])
	require.GreaterOrEqual(t, done[0], first)
	_, err = replicas[1].Watch(t.Context(), "", done[0]-1)
	var compacted *store.CompactedError
	require.ErrorAs(t, err, &compacted)
	require.Equal(t, done[0], compacted.Oldest)
	w, err := replicas[1].Watch(t.Context(), "", done[0])
	require.NoError(t, err)
	w.Close()
}
