package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func recordPromises() []Promise {
	return []Promise{
		{"IDIsSetAndStable", idIsSetAndStable},
		{"FreshStoreIsEmpty", freshStoreIsEmpty},
		{"RecordsKeepTheirRevisions", recordsKeepTheirRevisions},
		{"DeletedAndWrittenAgainIsNew", deletedAndWrittenAgainIsNew},
		{"RevisionsGrow", revisionsGrow},
		{"AcknowledgedIsSeenByAll", acknowledgedIsSeenByAll},
		{"StaleReadsNeverGoBack", staleReadsNeverGoBack},
		{"EndedContextChangesNothing", endedContextChangesNothing},
		{"OutcomesAreNeverFalselyClaimed", outcomesAreNeverFalselyClaimed},
		{"MethodsMayBeCalledTogether", methodsMayBeCalledTogether},
		{"CloseEndsEverything", closeEndsEverything},
	}
}

func idIsSetAndStable(t TB, s store.Store) {
	a, err := s.ID(within(t))
	require.NoError(t, err)
	require.NotEmpty(t, a.UUID)
	require.EqualValues(t, 1, a.Generation, "of a store that was never restored")
	commit(t, s, put("a", "1"))
	b, err := s.ID(within(t))
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func freshStoreIsEmpty(t TB, s store.Store) {
	require.Empty(t, list(t, s, "").KVs)
	absent(t, s, "a")
	require.Positive(t, commit(t, s, put("a", "1")), "the first transaction has a revision above 0")
}

func recordsKeepTheirRevisions(t TB, s store.Store) {
	first := commit(t, s, put("a", "1"), put("empty", ""))
	kv, rev, err := s.Get(within(t), "a", store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, store.KV{Key: "a", Value: []byte("1"), Create: first, Mod: first}, kv)
	require.GreaterOrEqual(t, rev, first)
	require.Empty(t, get(t, s, "empty").Value)

	second := commit(t, s, put("a", "2"))
	require.Equal(t, store.KV{Key: "a", Value: []byte("2"), Create: first, Mod: second}, get(t, s, "a"))
	require.Equal(t, first, get(t, s, "empty").Mod, "another record's revision moved")
	_, rev, err = s.Get(within(t), "empty", store.ReadOptions{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, rev, second, "the revision it was read at, not that of the record")
	require.LessOrEqual(t, rev, list(t, s, "").Rev)
	require.Equal(t, []store.KV{get(t, s, "a"), get(t, s, "empty")}, list(t, s, "").KVs)
	kv, _, err = s.Get(within(t), "a", store.ReadOptions{At: first})
	require.NoError(t, err)
	require.Equal(t, second, kv.Mod, "At is of List only: Get reads the present")
}

func deletedAndWrittenAgainIsNew(t TB, s store.Store) {
	commit(t, s, put("a", "1"))
	commit(t, s, del("a"))
	absent(t, s, "a")
	require.Empty(t, list(t, s, "").KVs)
	rev := commit(t, s, put("a", "2"))
	require.Equal(t, rev, get(t, s, "a").Create)
}

func revisionsGrow(t TB, s store.Store) {
	var last store.Revision
	for i := range 20 {
		rev := commit(t, s, put("a", strconv.Itoa(i)))
		require.Greater(t, rev, last)
		require.GreaterOrEqual(t, list(t, s, "").Rev, rev)
		last = rev
	}
}

// acknowledgedIsSeenByAll lets several writers change what all have read: one
// wins, and everybody sees at once what it wrote.
func acknowledgedIsSeenByAll(t TB, s store.Store) {
	const writers, rounds = 4, 25
	rev := commit(t, s, put("n", ""))
	for round := range rounds {
		var won [writers]store.Revision
		g, ctx := errgroup.WithContext(within(t))
		for i := range writers {
			g.Go(func() (err error) {
				won[i], err = changeOnce(ctx, s, rev, fmt.Sprintf("%d by %d", round, i))
				return err
			})
		}
		require.NoError(t, g.Wait())
		rev = 0
		for i, r := range won {
			if r == 0 {
				continue
			}
			require.Zero(t, rev, "two changes of the same revision")
			rev = r
			require.Equal(t, fmt.Sprintf("%d by %d", round, i), string(get(t, s, "n").Value))
		}
		require.Equal(t, rev, get(t, s, "n").Mod)
	}
}

// changeOnce changes n if it is still as it was at rev; 0 if it is not. Either
// way, a reader sees something newer from then on.
func changeOnce(ctx context.Context, s store.Store, rev store.Revision, value string) (store.Revision, error) {
	won, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "n", Rev: rev}}, Then: []store.Op{put("n", value)}})
	if err != nil && !isConflict(err) {
		return 0, err
	}
	kv, _, err := s.Get(ctx, "n", store.ReadOptions{})
	if err == nil && (kv.Mod <= rev || kv.Mod < won) {
		err = fmt.Errorf("read revision %d after %d was acknowledged, and %d before", kv.Mod, won, rev)
	}
	return won, err
}

func staleReadsNeverGoBack(t TB, s store.Store) {
	var last store.Revision
	for i := range 50 {
		commit(t, s, put("a", strconv.Itoa(i)))
		page, err := s.List(within(t), "", store.ReadOptions{Stale: true})
		require.NoError(t, err)
		require.GreaterOrEqual(t, page.Rev, last)
		last = page.Rev
		_, rev, err := s.Get(within(t), "a", store.ReadOptions{Stale: true})
		if err != nil { // so far behind that it is not there yet
			require.ErrorIs(t, err, store.ErrNotFound)
			continue
		}
		require.GreaterOrEqual(t, rev, last)
		last = rev
	}
}

func endedContextChangesNothing(t TB, s store.Store) {
	start := list(t, s, "").Rev
	rev := commit(t, s, put("b", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"ID":      func() error { _, err := s.ID(ctx); return err },
		"Get":     func() error { _, _, err := s.Get(ctx, "b", store.ReadOptions{}); return err },
		"List":    func() error { _, err := s.List(ctx, "", store.ReadOptions{}); return err },
		"Commit":  func() error { _, err := s.Commit(ctx, txn(put("a", "1"))); return err },
		"Watch":   func() error { _, err := s.Watch(ctx, "", rev); return err },
		"Grant":   func() error { _, err := s.Grant(ctx, shortTTL); return err },
		"Compact": func() error { return s.Compact(ctx, rev) },
	} {
		err := call()
		require.ErrorIs(t, err, context.Canceled, name)
		var unknown *store.UnknownError
		require.False(t, errors.As(err, &unknown), "%s: surely nothing was done, but: %v", name, err)
	}
	commit(t, s, put("c", "1"))
	absent(t, s, "a")
	watch(t, s, "", start) // was not compacted
}

// outcomes are the keys of transactions by what their writers were told.
type outcomes struct {
	mu           sync.Mutex
	done, undone []string
}

// add takes note of err; an unknown outcome may be either.
func (o *outcomes) add(key string, err error, surelyNot error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var unknown *store.UnknownError
	switch {
	case err == nil:
		o.done = append(o.done, key)
	case errors.As(err, &unknown):
	case errors.Is(err, surelyNot):
		o.undone = append(o.undone, key)
	default:
		return err
	}
	return nil
}

func (o *outcomes) check(t TB, s store.Store) {
	now := contents(list(t, s, "").KVs)
	for _, key := range o.done {
		require.Contains(t, now, key, "acknowledged, and lost")
	}
	for _, key := range o.undone {
		require.NotContains(t, now, key, "said not to be applied, but is there")
	}
}

// outcomesAreNeverFalselyClaimed: writers give up at any moment.
func outcomesAreNeverFalselyClaimed(t TB, s store.Store) {
	const writers, each = 8, 60
	var o outcomes
	g, ctx := errgroup.WithContext(within(t))
	for i := range writers {
		g.Go(func() error {
			for n := range each {
				mine, cancel := context.WithCancel(ctx)
				g.Go(func() error { cancel(); return nil })
				key := fmt.Sprintf("%d/%d", i, n)
				_, err := s.Commit(mine, txn(put(key, "")))
				if err := o.add(key, err, context.Canceled); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	commit(t, s, put("end", "")) // whatever was still on its way is before it
	o.check(t, s)
}

func closeEndsEverything(t TB, s store.Store) {
	rev := commit(t, s, put("a", "1"))
	w := watch(t, s, "waits/", rev)
	late := watch(t, s, "", rev)
	commit(t, s, put("b", "1")) // late has not read it
	l, err := s.Grant(t.Context(), patience)
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := nextEvents(context.Background(), w)
		waiting <- err
	}()
	require.NoError(t, s.Close())

	ctx := within(t)
	select {
	case err := <-waiting:
		require.ErrorIs(t, err, store.ErrClosed, "a waiting Next")
	case <-ctx.Done():
		require.Fail(t, "Next still waits after Close")
	}
	select {
	case <-l.Done():
	case <-ctx.Done():
		require.Fail(t, "a lease is still renewed after Close")
	}
	for name, call := range map[string]func() error{
		"ID":      func() error { _, err := s.ID(ctx); return err },
		"Get":     func() error { _, _, err := s.Get(ctx, "a", store.ReadOptions{}); return err },
		"List":    func() error { _, err := s.List(ctx, "", store.ReadOptions{}); return err },
		"Commit":  func() error { _, err := s.Commit(ctx, txn(put("a", "2"))); return err },
		"Watch":   func() error { _, err := s.Watch(ctx, "", rev); return err },
		"Next":    func() error { _, err := w.Next(ctx); return err },
		"unread":  func() error { _, err := late.Next(ctx); return err },
		"Grant":   func() error { _, err := s.Grant(ctx, shortTTL); return err },
		"Revoke":  func() error { return l.Revoke(ctx) },
		"Compact": func() error { return s.Compact(ctx, rev) },
	} {
		require.ErrorIs(t, call(), store.ErrClosed, name)
	}
	require.NoError(t, s.Close(), "a second Close")
}
