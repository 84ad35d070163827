package storetest

import (
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func listPromises() []Promise {
	return []Promise{
		{"ListIsOrderedAndBelowThePrefix", listIsOrderedAndBelowThePrefix},
		{"PagesShowOneState", pagesShowOneState},
		{"PagesEndExactly", pagesEndExactly},
		{"LongListShowsOneState", longListShowsOneState},
		{"CompactedPageFails", compactedPageFails},
	}
}

func listIsOrderedAndBelowThePrefix(t TB, s store.Store) {
	rev := commit(t, s, put("b/2", ""), put("a", ""), put("b/10", ""), put("b", ""), put("b/1", ""), put("c", ""), put("b/\xff", ""))
	for prefix, want := range map[string][]string{
		"":     {"a", "b", "b/1", "b/10", "b/2", "b/\xff", "c"},
		"b":    {"b", "b/1", "b/10", "b/2", "b/\xff"},
		"b/":   {"b/1", "b/10", "b/2", "b/\xff"},
		"b/1":  {"b/1", "b/10"},
		"aa":   {},
		"zzzz": {},
	} {
		page := list(t, s, prefix)
		require.Equal(t, want, keys(page.KVs), "prefix %q", prefix)
		require.Equal(t, rev, page.Rev)
		require.False(t, page.More)
	}
}

// iterate reads all pages, and calls between after each.
func iterate(t TB, s store.Store, prefix string, limit int, between func()) []store.KV {
	var all []store.KV
	o := store.ReadOptions{Limit: limit}
	for {
		page, err := s.List(within(t), prefix, o)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.KVs), limit)
		if o.At != 0 {
			require.Equal(t, o.At, page.Rev)
			require.NotEmpty(t, page.KVs, "a page that was said to be there")
		}
		all = append(all, page.KVs...)
		if !page.More {
			return all
		}
		require.Len(t, page.KVs, limit, "a page with More is full")
		o.At, o.After = page.Rev, page.KVs[limit-1].Key
		between()
	}
}

func pagesShowOneState(t TB, s store.Store) {
	for i := range 10 {
		commit(t, s, put(fmt.Sprintf("p/%02d", i), "old"))
	}
	before := list(t, s, "p/").KVs
	n := 0
	after := iterate(t, s, "p/", 3, func() {
		n++
		commit(t, s, put("p/00", "new"), put("p/06", fmt.Sprint(n)), put(fmt.Sprintf("p/05-%d", n), "new"))
		commit(t, s, del("p/08"), put("p/99", "new"), put("q", "new"))
		commit(t, s, put("p/08", "again"))
		commit(t, s, del("p/09"))
	})
	require.Equal(t, before, after)
	require.Len(t, list(t, s, "p/").KVs, 9+3+1)
}

func pagesEndExactly(t TB, s store.Store) {
	commit(t, s, put("p/1", ""), put("p/2", ""), put("p/3", ""), put("p/4", ""), put("q", ""))
	for limit := 1; limit <= 6; limit++ {
		require.Equal(t, []string{"p/1", "p/2", "p/3", "p/4"}, keys(iterate(t, s, "p/", limit, func() {})))
	}
	at := list(t, s, "").Rev
	for after, want := range map[string][]string{ // a key that need not be there
		"o": {"p/1", "p/2", "p/3", "p/4"}, "p/2": {"p/3", "p/4"}, "p/2-": {"p/3", "p/4"}, "p/4": {}, "q": {}, "r": {},
	} {
		page, err := s.List(within(t), "p/", store.ReadOptions{After: after, At: at})
		require.NoError(t, err)
		require.Equal(t, want, keys(page.KVs), "after %s", after)
		require.False(t, page.More)
	}
}

// longListShowsOneState reads more records at once than an engine may read in
// one piece, while the first, one in the middle and the last change together.
func longListShowsOneState(t TB, s store.Store) {
	const records, lists = 5000, 3
	key := func(i int) string { return fmt.Sprintf("l/%04d", i) }
	for i := 0; i < records; i += store.MaxTxnOps {
		var ops []store.Op
		for j := range store.MaxTxnOps {
			ops = append(ops, put(key(i+j), "start"))
		}
		commit(t, s, ops...)
	}
	change := func(v string) store.Txn {
		return txn(put(key(0), v), put(key(records/2), v), put(key(records-1), v))
	}
	ctx := within(t)
	_, err := s.Commit(ctx, change("together"))
	require.NoError(t, err)
	done := make(chan struct{})
	var writing errgroup.Group
	writing.Go(func() error {
		for i := 0; ; i++ {
			select {
			case <-done:
				return nil
			default:
			}
			if _, err := s.Commit(ctx, change(fmt.Sprint(i))); err != nil {
				return err
			}
		}
	})
	check := func() error {
		for range lists {
			page, err := s.List(ctx, "l/", store.ReadOptions{})
			if err != nil {
				return err
			}
			if page.More || len(page.KVs) != records {
				return fmt.Errorf("%d records of %d, more: %t", len(page.KVs), records, page.More)
			}
			if first, last := page.KVs[0].Mod, page.KVs[records-1].Mod; first != last || first != page.KVs[records/2].Mod {
				return fmt.Errorf("a list of two states, at revisions %d and %d", first, last)
			}
		}
		return nil
	}
	err = check()
	close(done)
	require.NoError(t, errors.Join(err, writing.Wait()))
}

func compactedPageFails(t TB, s store.Store) {
	commit(t, s, put("a", "1"), put("b", "1"))
	first, err := s.List(within(t), "", store.ReadOptions{Limit: 1})
	require.NoError(t, err)
	rev := commit(t, s, put("b", "2"))
	require.NoError(t, s.Compact(within(t), rev))
	_, err = s.List(within(t), "", store.ReadOptions{Limit: 1, After: "a", At: first.Rev})
	var compacted *store.CompactedError
	require.ErrorAs(t, err, &compacted)
	require.Equal(t, rev, compacted.Oldest)
	require.GreaterOrEqual(t, compacted.Current, rev)
	page, err := s.List(within(t), "", store.ReadOptions{At: rev})
	require.NoError(t, err, "the state at the compacted revision itself is there")
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, contents(page.KVs))
}
