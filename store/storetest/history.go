package storetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

func historyPromises() []Promise {
	return []Promise{
		{"CompactedWatchFailsAtOnce", compactedWatchFailsAtOnce},
		{"FutureWatchIsRefused", futureWatchIsRefused},
		{"CompactKeepsRecords", compactKeepsRecords},
	}
}

func compactedWatchFailsAtOnce(t TB, s store.Store) {
	var revs []store.Revision
	for i := range 10 {
		revs = append(revs, commit(t, s, put("a", fmt.Sprint(i))))
	}
	require.NoError(t, s.Compact(within(t), revs[5]))
	for _, after := range []store.Revision{0, revs[0], revs[4]} {
		_, err := s.Watch(within(t), "", after)
		var compacted *store.CompactedError
		require.ErrorAs(t, err, &compacted, "a start that was compacted away, after %d, is served", after)
		require.Equal(t, &store.CompactedError{Oldest: revs[5], Current: revs[9]}, compacted)
	}
	w := watch(t, s, "", revs[5])
	for _, want := range revs[6:] {
		require.Equal(t, want, next(t, w).Rev)
	}
	for _, before := range []store.Revision{0, revs[2], revs[5]} {
		require.NoError(t, s.Compact(within(t), before), "what was forgotten before")
	}
	watch(t, s, "", revs[5])
}

func futureWatchIsRefused(t TB, s store.Store) {
	rev := commit(t, s, put("a", "1"))
	for _, future := range []store.Revision{rev + 1, rev + 1000} {
		_, err := s.Watch(within(t), "", future)
		require.ErrorIs(t, err, store.ErrInvalid)
	}
	watch(t, s, "", rev)
}

func compactKeepsRecords(t TB, s store.Store) {
	commit(t, s, put("a", "1"), put("b", "1"), put("gone", "1"))
	commit(t, s, put("a", "2"))
	rev := commit(t, s, del("gone"))
	before := list(t, s, "")
	w := watch(t, s, "", rev)
	require.NoError(t, s.Compact(within(t), rev))
	require.Equal(t, before, list(t, s, ""))
	absent(t, s, "gone")
	_, err := s.Commit(within(t), store.Txn{
		If:   []store.Cond{{Key: "a", Rev: before.KVs[0].Mod}, {Key: "gone"}},
		Then: []store.Op{put("a", "3"), put("gone", "back")},
	})
	require.NoError(t, err)
	require.Len(t, next(t, w).Events, 2)
}
