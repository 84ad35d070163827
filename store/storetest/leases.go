package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

func leasePromises() []Promise {
	return []Promise{
		{"LeaseIsRenewed", leaseIsRenewed},
		{"LeaseEndsNeverEarlyInOneTransaction", leaseEndsNeverEarlyInOneTransaction},
		{"LeaseEndsOnceTooWithManyKeys", leaseEndsOnceTooWithManyKeys},
		{"RevokeDeletesAtOnce", revokeDeletesAtOnce},
		{"RecordsTellTheirLease", recordsTellTheirLease},
		{"RecordsLeaveTheirLease", recordsLeaveTheirLease},
		{"FailedRevokeEndsByItself", failedRevokeEndsByItself},
		{"EndedLeaseIsRefused", endedLeaseIsRefused},
		{"LeasesAreDistinct", leasesAreDistinct},
	}
}

func grant(t TB, ctx context.Context, s store.Store) store.Lease {
	t.Helper()
	l, err := s.Grant(ctx, shortTTL)
	require.NoError(t, err)
	require.NotZero(t, l.ID())
	require.GreaterOrEqual(t, l.TTL(), shortTTL)
	return l
}

func leased(key string, l store.Lease) store.Op {
	return store.Op{Key: key, Value: []byte("leased"), Lease: l.ID()}
}

// leaseIsRenewed looks whenever the deadline has moved.
func leaseIsRenewed(t TB, s store.Store) {
	l := grant(t, t.Context(), s)
	commit(t, s, leased("a", l))
	granted := time.Now()
	for time.Since(granted) < 2*l.TTL() {
		before := l.Deadline()
		eventually(t, func() bool { return l.Deadline().After(before) }, "the lease is not renewed")
		require.Equal(t, l.ID(), get(t, s, "a").Lease)
		select {
		case <-l.Done():
			require.Fail(t, "a lease ended that is renewed")
		default:
		}
	}
	require.NoError(t, l.Revoke(within(t)))
}

func leaseEndsNeverEarlyInOneTransaction(t TB, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := grant(t, ctx, s)
	rev := commit(t, s, leased("l/a", l), leased("l/b", l), put("other", "stays"))
	w := watch(t, s, "", rev)

	// The last renewal may have been any time before cancel: Deadline tells.
	cancel()
	select {
	case <-l.Done():
	case <-within(t).Done():
		require.Fail(t, "Done is not closed though nobody renews the lease")
	}
	deadline := l.Deadline()
	b := next(t, w)
	require.False(t, time.Now().Before(deadline), "the lease ended %s early", time.Until(deadline))
	require.Len(t, b.Events, 2)
	for _, e := range b.Events {
		require.True(t, e.Deleted)
		require.Equal(t, b.Rev, e.Mod)
	}
	require.Equal(t, map[string]string{"l/a": "", "l/b": ""}, eventContents(b.Events))
	require.Equal(t, []string{"other"}, keys(list(t, s, "").KVs))
	require.NoError(t, l.Revoke(within(t)), "a lease that has ended")

	// And a lease never promises less than its ttl.
	before := time.Now()
	fresh := grant(t, t.Context(), s)
	require.False(t, fresh.Deadline().Before(before.Add(fresh.TTL())), "the first deadline is before the ttl has passed")
	require.NoError(t, fresh.Revoke(within(t)))
}

func leaseEndsOnceTooWithManyKeys(t TB, s store.Store) {
	l := grant(t, t.Context(), s)
	var rev store.Revision
	for i := range 3 {
		var ops []store.Op
		for j := range 60 {
			ops = append(ops, leased(fmt.Sprintf("m/%d/%d", i, j), l))
		}
		rev = commit(t, s, ops...)
	}
	w := watch(t, s, "", rev)
	require.NoError(t, l.Revoke(within(t)))
	require.Len(t, next(t, w).Events, 180)
	require.Empty(t, list(t, s, "").KVs)
}

func revokeDeletesAtOnce(t TB, s store.Store) {
	l, err := s.Grant(t.Context(), time.Hour)
	require.NoError(t, err)
	rev := commit(t, s, leased("a", l), put("b", ""))
	w := watch(t, s, "", rev)
	require.NoError(t, l.Revoke(within(t)))
	absent(t, s, "a")
	get(t, s, "b")
	require.True(t, next(t, w).Events[0].Deleted)
	select {
	case <-l.Done():
	default:
		require.Fail(t, "Done is not closed after Revoke")
	}
	require.NoError(t, l.Revoke(within(t)), "revoked twice")
}

func recordsTellTheirLease(t TB, s store.Store) {
	l := grant(t, t.Context(), s)
	w := watch(t, s, "", list(t, s, "").Rev)
	rev := commit(t, s, leased("a", l))
	want := store.KV{Key: "a", Value: []byte("leased"), Create: rev, Mod: rev, Lease: l.ID()}
	require.Equal(t, want, get(t, s, "a"))
	require.Equal(t, []store.KV{want}, list(t, s, "").KVs)
	require.Equal(t, []store.Event{{KV: want}}, next(t, w).Events)
	last := commit(t, s, put("a", "without"))
	page, err := s.List(within(t), "", store.ReadOptions{At: rev})
	require.NoError(t, err)
	require.Equal(t, []store.KV{want}, page.KVs, "a former state")
	want = store.KV{Key: "a", Value: []byte("without"), Create: rev, Mod: last}
	require.Equal(t, want, get(t, s, "a"))
	require.Equal(t, []store.Event{{KV: want}}, next(t, w).Events)
	require.NoError(t, l.Revoke(within(t)))
}

// failedRevokeEndsByItself: whoever could not revoke a lease is rid of it all the same.
func failedRevokeEndsByItself(t TB, s store.Store) {
	l := grant(t, t.Context(), s)
	w := watch(t, s, "", commit(t, s, leased("a", l)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, l.Revoke(ctx), context.Canceled)
	b := next(t, w)
	require.True(t, b.Events[0].Deleted)
	select {
	case <-l.Done():
	default:
		require.Fail(t, "Done is not closed though the lease has ended")
	}
	absent(t, s, "a")
	require.NoError(t, l.Revoke(within(t)), "a lease that has ended")
}

// recordsLeaveTheirLease: only what was last written with a lease dies with it.
func recordsLeaveTheirLease(t TB, s store.Store) {
	one, two := grant(t, t.Context(), s), grant(t, t.Context(), s)
	commit(t, s, leased("kept", one), leased("moved", one), leased("deleted", one), leased("again", one), put("late", ""))
	commit(t, s, put("kept", "without"), leased("moved", two), del("deleted"), leased("again", one), leased("late", one))
	commit(t, s, put("deleted", "new"))
	require.NoError(t, one.Revoke(within(t)))
	require.Equal(t, []string{"deleted", "kept", "moved"}, keys(list(t, s, "").KVs))
	require.Equal(t, two.ID(), get(t, s, "moved").Lease)
	require.NoError(t, two.Revoke(within(t)))
	require.Equal(t, []string{"deleted", "kept"}, keys(list(t, s, "").KVs))
}

func endedLeaseIsRefused(t TB, s store.Store) {
	l := grant(t, t.Context(), s)
	require.NoError(t, l.Revoke(within(t)))
	rev := commit(t, s, put("b", "1"))
	for name, id := range map[string]store.LeaseID{"revoked": l.ID(), "never granted": l.ID() + 1000} {
		op := leased("a", l)
		op.Lease = id
		_, err := s.Commit(within(t), txn(put("b", "2"), op))
		require.ErrorIs(t, err, store.ErrLeaseGone, name)
	}
	absent(t, s, "a")
	require.Equal(t, rev, get(t, s, "b").Mod)
}

func leasesAreDistinct(t TB, s store.Store) {
	seen := make(map[store.LeaseID]bool)
	for range 20 {
		l := grant(t, t.Context(), s)
		require.False(t, seen[l.ID()])
		seen[l.ID()] = true
		require.NoError(t, l.Revoke(within(t)))
	}
}
