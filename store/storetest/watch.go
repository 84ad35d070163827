package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func watchPromises() []Promise {
	return []Promise{
		{"WatchTellsWhatHappened", watchTellsWhatHappened},
		{"WatchSeesOnlyItsPrefix", watchSeesOnlyItsPrefix},
		{"WatchSeesEverythingWholeInOrderOnce", watchSeesEverythingWholeInOrderOnce},
		{"ListThenWatchHasNoGapAndNoOverlap", listThenWatchHasNoGapAndNoOverlap},
		{"WatchReportsProgress", watchReportsProgress},
		{"NextGivenUpLosesNothing", nextGivenUpLosesNothing},
		{"WatcherOutlivesTheCall", watcherOutlivesTheCall},
		{"ClosedWatcherEnds", closedWatcherEnds},
		{"SlowWatcherBlocksNobody", slowWatcherBlocksNobody},
	}
}

func watchTellsWhatHappened(t TB, s store.Store) {
	start := commit(t, s, put("old", "1"))
	w := watch(t, s, "", start)
	created := commit(t, s, put("a", "1"))
	require.Equal(t, store.Batch{Rev: created, Events: []store.Event{
		{KV: store.KV{Key: "a", Value: []byte("1"), Create: created, Mod: created}},
	}}, next(t, w))
	changed := commit(t, s, put("a", "2"))
	require.Equal(t, store.Batch{Rev: changed, Events: []store.Event{
		{KV: store.KV{Key: "a", Value: []byte("2"), Create: created, Mod: changed}},
	}}, next(t, w))
	deleted := commit(t, s, del("a"))
	b := next(t, w)
	require.Equal(t, deleted, b.Rev)
	require.Len(t, b.Events, 1)
	e := b.Events[0]
	require.True(t, e.Deleted)
	require.Equal(t, "a", e.Key)
	require.Equal(t, deleted, e.Mod)
	require.Empty(t, e.Value)
}

func watchSeesOnlyItsPrefix(t TB, s store.Store) {
	w := watch(t, s, "p/", list(t, s, "").Rev)
	commit(t, s, put("p", "no"), put("q/1", "no"), put("o", "no"))
	rev := commit(t, s, put("p/1", "yes"), put("q/1", "no"), put("p/2", "yes"))
	b := next(t, w)
	require.Equal(t, rev, b.Rev)
	require.Equal(t, map[string]string{"p/1": "yes", "p/2": "yes"}, eventContents(b.Events))
	last := commit(t, s, del("p/1"))
	require.Equal(t, last, next(t, w).Rev)
}

func eventContents(events []store.Event) map[string]string {
	m := make(map[string]string, len(events))
	for _, e := range events {
		m[e.Key] = string(e.Value)
	}
	return m
}

// watchSeesEverythingWholeInOrderOnce lets several writers write while one
// watcher follows from the beginning and another joins in the middle.
func watchSeesEverythingWholeInOrderOnce(t TB, s store.Store) {
	const writers, each = 4, 40
	start := list(t, s, "").Rev
	live := watch(t, s, "w/", start)
	var mu sync.Mutex
	acked := make(map[store.Revision]string)
	g, ctx := errgroup.WithContext(within(t))
	for i := range writers {
		g.Go(func() error {
			for n := range each {
				v := fmt.Sprintf("%d.%d", i, n)
				rev, err := s.Commit(ctx, txn(put("w/a", v), put(fmt.Sprintf("w/%d", i), v), put("w/z", v)))
				if err != nil {
					return err
				}
				mu.Lock()
				_, twice := acked[rev]
				acked[rev] = v
				mu.Unlock()
				if twice {
					return fmt.Errorf("revision %d was given twice", rev)
				}
			}
			return nil
		})
	}
	var got []store.Batch
	g.Go(func() (err error) {
		got, err = collect(ctx, live, writers*each)
		return err
	})
	require.NoError(t, g.Wait())
	last := start
	for _, b := range got {
		require.Greater(t, b.Rev, last, "out of order, or twice")
		last = b.Rev
		require.Len(t, b.Events, 3, "revision %d is not whole", b.Rev)
		for _, e := range b.Events {
			require.Equal(t, acked[b.Rev], string(e.Value), "revision %d", b.Rev)
			require.Equal(t, b.Rev, e.Mod)
		}
	}
	again, err := collect(within(t), watch(t, s, "w/", got[9].Rev), writers*each-10)
	require.NoError(t, err)
	require.Equal(t, got[10:], again, "a watch that starts in the past")
}

func collect(ctx context.Context, w store.Watcher, n int) ([]store.Batch, error) {
	var all []store.Batch
	var mark store.Revision
	for len(all) < n {
		b, err := w.Next(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("after %d of %d batches: %w", len(all), n, err)
		case len(b.Events) == 0:
			mark = b.Rev
		case b.Rev <= mark:
			return nil, fmt.Errorf("revision %d after a mark that nothing else happened up to %d", b.Rev, mark)
		default:
			all = append(all, b)
		}
	}
	return all, nil
}

// listThenWatchHasNoGapAndNoOverlap builds copies of a store that changes, and
// compares them with it in the end.
func listThenWatchHasNoGapAndNoOverlap(t TB, s store.Store) {
	const writes = 150
	commit(t, s, put("n/0", "start"))
	before := list(t, s, "n/") // the others may come after the last write
	g, ctx := errgroup.WithContext(within(t))
	end := make(chan store.Revision, 1)
	g.Go(func() error {
		for i := range writes {
			op := put(fmt.Sprintf("n/%d", i), "")
			if i%5 == 4 {
				op = del(fmt.Sprintf("n/%d", i-3))
			}
			if _, err := s.Commit(ctx, txn(op)); err != nil {
				return err
			}
		}
		rev, err := s.Commit(ctx, txn(put("n/end", "")))
		end <- rev
		return err
	})
	var views [10]map[string]string
	for i := range views {
		g.Go(func() error {
			page, err := before, error(nil)
			if i > 0 {
				page, err = s.List(ctx, "n/", store.ReadOptions{})
			}
			if err != nil {
				return err
			}
			views[i] = contents(page.KVs)
			return follow(ctx, s, page, views[i])
		})
	}
	require.NoError(t, g.Wait())
	want := contents(list(t, s, "n/").KVs)
	require.Contains(t, want, "n/end")
	for _, v := range views {
		require.Equal(t, want, v)
	}
}

// follow applies what comes after page to view, until n/end is there.
func follow(ctx context.Context, s store.Store, page store.Page, view map[string]string) error {
	w, err := s.Watch(ctx, "n/", page.Rev)
	if err != nil {
		return err
	}
	defer w.Close()
	for rev := page.Rev; ; {
		if _, ended := view["n/end"]; ended {
			return nil
		}
		b, err := nextEvents(ctx, w)
		if err != nil {
			return err
		}
		if b.Rev <= rev {
			return fmt.Errorf("revision %d after %d", b.Rev, rev)
		}
		rev = b.Rev
		for _, e := range b.Events {
			if e.Deleted {
				delete(view, e.Key)
			} else {
				view[e.Key] = string(e.Value)
			}
		}
	}
}

func watchReportsProgress(t TB, s store.Store) {
	start := list(t, s, "").Rev
	w := watch(t, s, "quiet/", start)
	rev := commit(t, s, put("loud", "1"))
	progress := func() store.Batch {
		// A busy machine is late: only a mark that was left out is noticed.
		ctx, cancel := context.WithTimeout(t.Context(), 3*store.ProgressEvery)
		defer cancel()
		b, err := w.Next(ctx)
		require.NoError(t, err, "a watcher stays silent")
		require.Empty(t, b.Events)
		return b
	}
	for last := start; last < rev; {
		b := progress()
		require.GreaterOrEqual(t, b.Rev, last, "progress went back")
		last = b.Rev
	}
	require.Equal(t, store.Batch{Rev: rev}, progress(), "a quiet store reports its progress too")
	mine := commit(t, s, put("quiet/a", "1"))
	require.Equal(t, mine, next(t, w).Rev)
}

func nextGivenUpLosesNothing(t TB, s store.Store) {
	start := list(t, s, "").Rev
	w := watch(t, s, "", start)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 20 {
		_, err := w.Next(ended)
		require.ErrorIs(t, err, context.Canceled)
		rev := commit(t, s, put("a", fmt.Sprint(i)))
		_, err = w.Next(ended)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, rev, next(t, w).Rev)
	}
	for i := range 20 {
		giveUpWhileWaiting(t, s, w, i)
	}
}

// giveUpWhileWaiting commits after Next was given up, or at the same moment.
func giveUpWhileWaiting(t TB, s store.Store, w store.Watcher, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var g errgroup.Group
	var rev store.Revision
	write := func() (err error) {
		rev, err = s.Commit(within(t), txn(put("a", fmt.Sprint(n))))
		return err
	}
	together := n%2 == 1
	if together {
		g.Go(write)
	}
	b, err := nextEvents(ctx, w)
	if !together {
		g.Go(write)
	}
	require.NoError(t, g.Wait())
	if err != nil {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		b = next(t, w)
	}
	require.Equal(t, rev, b.Rev)
}

func watcherOutlivesTheCall(t TB, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Watch(ctx, "", list(t, s, "").Rev)
	require.NoError(t, err)
	defer w.Close()
	cancel()
	rev := commit(t, s, put("a", "1"))
	require.Equal(t, rev, next(t, w).Rev)
	b, err := w.Next(within(t)) // nothing happens until the next progress mark
	require.NoError(t, err)
	require.Empty(t, b.Events)
}

func closedWatcherEnds(t TB, s store.Store) {
	w := watch(t, s, "", list(t, s, "").Rev)
	waiting := make(chan error, 1)
	go func() {
		_, err := nextEvents(context.Background(), w)
		waiting <- err
	}()
	w.Close()
	ctx := within(t)
	select {
	case err := <-waiting:
		require.ErrorIs(t, err, store.ErrClosed)
	case <-ctx.Done():
		require.Fail(t, "Next still waits after Close")
	}
	late := watch(t, s, "", list(t, s, "").Rev)
	commit(t, s, put("a", "1"))
	late.Close()
	for _, w := range []store.Watcher{w, late} {
		_, err := w.Next(ctx)
		require.ErrorIs(t, err, store.ErrClosed)
		w.Close()
	}
}

// slowWatcherBlocksNobody: a watcher that is not read sees all in the end, or
// is told where it lost its place.
func slowWatcherBlocksNobody(t TB, s store.Store) {
	const writes = 1500
	slow := watch(t, s, "", list(t, s, "").Rev)
	start := commit(t, s, put("s/0", "first"))
	require.Equal(t, start, next(t, slow).Rev)
	g, ctx := errgroup.WithContext(within(t))
	for i := range 8 {
		g.Go(func() error {
			for n := range writes / 8 {
				if _, err := s.Commit(ctx, txn(put(fmt.Sprintf("s/%d", i), fmt.Sprint(n)))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	end := list(t, s, "").Rev
	require.NoError(t, s.Compact(within(t), end-10))

	seen, last := 0, start
	for last < end {
		b, err := slow.Next(within(t))
		var slowly *store.SlowError
		if errors.As(err, &slowly) {
			require.Equal(t, last, slowly.Last, "where it lost its place")
			_, err = slow.Next(within(t))
			require.ErrorIs(t, err, store.ErrClosed, "after SlowError")
			return
		}
		require.NoError(t, err)
		if len(b.Events) > 0 {
			require.Greater(t, b.Rev, last)
		}
		require.GreaterOrEqual(t, b.Rev, last)
		last = b.Rev
		seen += len(b.Events)
	}
	require.Equal(t, writes/8*8, seen, "a slow watcher lost events without being told")
}
