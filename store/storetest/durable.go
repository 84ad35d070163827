package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// DurablePromises returns what an engine promises that survives a restart.
func DurablePromises() []Durable {
	return []Durable{
		{"ReopeningKeepsRecordsAndID", reopeningKeepsRecordsAndID},
		{"ReopeningNeverReusesRevisions", reopeningNeverReusesRevisions},
		{"ReopeningKeepsHistory", reopeningKeepsHistory},
		{"ReopeningKeepsCompaction", reopeningKeepsCompaction},
		{"ReopeningGivesLeasesAFullTTL", reopeningGivesLeasesAFullTTL},
		{"ReopeningReusesNoLease", reopeningReusesNoLease},
		{"LeaderComesBackAtOnce", leaderComesBackAtOnce},
		{"ClosingWhileWritingClaimsNothingFalse", closingWhileWritingClaimsNothingFalse},
		{"BehavesLikeAMapOverRestarts", behavesLikeAMapOverRestarts},
	}
}

// reopen closes s and opens it again.
func reopen(t TB, s store.Store, open func() store.Store) store.Store {
	t.Helper()
	require.NoError(t, s.Close())
	return open()
}

func reopeningKeepsRecordsAndID(t TB, open func() store.Store) {
	s := open()
	commit(t, s, put("a", "1"), put("b", "1"), put("gone", "1"))
	commit(t, s, put("a", "2"), del("gone"))
	id, err := s.ID(within(t))
	require.NoError(t, err)
	before := list(t, s, "")

	s = reopen(t, s, open)
	again, err := s.ID(within(t))
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.Equal(t, before, list(t, s, ""))
	require.NoError(t, s.Close())
}

func reopeningNeverReusesRevisions(t TB, open func() store.Store) {
	s := open()
	commit(t, s, put("a", "1"))
	for i := range 3 {
		last := commit(t, s, del("a"))
		require.NoError(t, s.Compact(within(t), last))
		s = reopen(t, s, open)
		rev := commit(t, s, put("a", fmt.Sprint(i)))
		require.Greater(t, rev, last)
	}
	require.NoError(t, s.Close())
}

func reopeningKeepsHistory(t TB, open func() store.Store) {
	s := open()
	start := commit(t, s, put("a", "1"), put("b", "1"))
	old := list(t, s, "")
	live := watch(t, s, "", start)
	commit(t, s, put("a", "2"), del("b"))
	commit(t, s, put("c", "1"))
	want, err := collect(within(t), live, 2)
	require.NoError(t, err)

	s = reopen(t, s, open)
	w := watch(t, s, "", start)
	got, err := collect(within(t), w, 2)
	require.NoError(t, err)
	require.Equal(t, want, got)
	page, err := s.List(within(t), "", store.ReadOptions{At: start})
	require.NoError(t, err)
	require.Equal(t, old, page, "a former state")
	rev := commit(t, s, put("d", "1"))
	require.Equal(t, rev, next(t, w).Rev)
	require.NoError(t, s.Close())
}

func reopeningKeepsCompaction(t TB, open func() store.Store) {
	s := open()
	first := commit(t, s, put("a", "1"))
	second := commit(t, s, put("a", "2"))
	require.NoError(t, s.Compact(within(t), second))
	s = reopen(t, s, open)
	_, err := s.Watch(within(t), "", first)
	var compacted *store.CompactedError
	require.ErrorAs(t, err, &compacted, "a start that was compacted away is served")
	require.Equal(t, second, compacted.Oldest)
	watch(t, s, "", second)
	require.NoError(t, s.Close())
}

func reopeningGivesLeasesAFullTTL(t TB, open func() store.Store) {
	s := open()
	l := grant(t, t.Context(), s)
	ctx, cancel := context.WithCancel(t.Context())
	old := grant(t, ctx, s)
	rev := commit(t, s, leased("a", l), leased("b", old), put("c", "stays"))
	cancel()
	<-old.Done() // on its way to its end

	require.NoError(t, s.Close())
	before := time.Now()
	s = open()
	require.Equal(t, []string{"a", "b", "c"}, keys(list(t, s, "").KVs))
	require.Equal(t, l.ID(), get(t, s, "a").Lease)
	commit(t, s, leased("late", l))
	w := watch(t, s, "", rev)
	gone := make(map[string]bool)
	for len(gone) < 3 {
		for _, e := range next(t, w).Events {
			if e.Deleted {
				gone[e.Key] = true
				require.GreaterOrEqual(t, time.Since(before), l.TTL(), "%s ended early", e.Key)
			}
		}
	}
	require.Equal(t, []string{"c"}, keys(list(t, s, "").KVs))
	_, err := s.Commit(within(t), txn(leased("a", l)))
	require.ErrorIs(t, err, store.ErrLeaseGone)

	s = reopen(t, s, open)
	require.Equal(t, []string{"c"}, keys(list(t, s, "").KVs))
	require.NoError(t, s.Close())
}

func reopeningReusesNoLease(t TB, open func() store.Store) {
	s := open()
	a := grant(t, t.Context(), s)
	require.NoError(t, a.Revoke(within(t)))
	s = reopen(t, s, open)
	b := grant(t, t.Context(), s)
	require.NotEqual(t, a.ID(), b.ID())
	require.NoError(t, s.Close())
}

// leaderComesBackAtOnce: the lease of the former run does not hold the same
// replica up, and its end does not depose it.
func leaderComesBackAtOnce(t TB, open func() store.Store) {
	s := open()
	old, err := store.Campaign(t.Context(), s, "kit", "me", 2*shortTTL)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	<-old.Context().Done()

	s = open()
	l, err := store.Campaign(t.Context(), s, "kit", "me", time.Hour)
	require.NoError(t, err)
	require.Greater(t, l.Epoch(), old.Epoch())
	held := commitGuarded(t, s, old.Guard())
	var fenced *store.FencedError
	require.ErrorAs(t, held, &fenced)

	// A lease with the same ttl that is granted now outlives the old one.
	witness, err := s.Grant(t.Context(), 2*shortTTL)
	require.NoError(t, err)
	renewed := witness.Deadline().Add(2 * shortTTL)
	eventually(t, func() bool { return witness.Deadline().After(renewed) }, "a lease is not renewed")
	require.NoError(t, commitGuarded(t, s, l.Guard()))
	require.NoError(t, l.Resign(within(t)))
	require.NoError(t, s.Close())
}

func commitGuarded(t TB, s store.Store, guard store.Cond) error {
	_, err := s.Commit(within(t), store.Txn{If: []store.Cond{guard}, Then: []store.Op{put("a", "1")}})
	return err
}

func closingWhileWritingClaimsNothingFalse(t TB, open func() store.Store) {
	const writers, enough = 8, 20
	s := open()
	var o outcomes
	g, ctx := errgroup.WithContext(within(t))
	started := make(chan struct{}, writers)
	for i := range writers {
		g.Go(func() error {
			for n := 0; ; n++ {
				if n == enough {
					started <- struct{}{}
				}
				key := fmt.Sprintf("%d/%d", i, n)
				_, err := s.Commit(ctx, txn(put(key, "")))
				if add := o.add(key, err, store.ErrClosed); add != nil || err != nil {
					return add
				}
			}
		})
	}
	for range writers {
		select {
		case <-started:
		case <-ctx.Done():
			require.NoError(t, g.Wait())
		}
	}
	require.NoError(t, s.Close())
	require.NoError(t, g.Wait())
	again := open()
	o.check(t, again)
	require.NoError(t, again.Close())
}

func behavesLikeAMapOverRestarts(t TB, open func() store.Store) {
	s := open()
	m := newModel(s)
	for range 8 {
		m.run(t, modelSteps/8)
		m.s = reopen(t, m.s, open)
		m.compare(t)
	}
	require.NoError(t, m.s.Close())
}
