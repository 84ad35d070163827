package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func txnPromises() []Promise {
	return []Promise{
		{"ConditionsDecide", conditionsDecide},
		{"ConflictTellsWhy", conflictTellsWhy},
		{"RefusedTransactionChangesNothing", refusedTransactionChangesNothing},
		{"GuardFences", guardFences},
		{"ChangingNothingMakesNoRevision", changingNothingMakesNoRevision},
		{"TransactionIsSeenWholeOrNot", transactionIsSeenWholeOrNot},
		{"LimitsAreKept", limitsAreKept},
		{"NonsenseIsRefused", nonsenseIsRefused},
	}
}

// isConflict reports whether a transaction was surely refused for a condition.
func isConflict(err error) bool {
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	return errors.As(err, &conflict) && !errors.As(err, &unknown)
}

func conditionsDecide(t TB, s store.Store) {
	create := commit(t, s, put("there", "1"))
	mod := commit(t, s, put("there", "2"))
	for _, test := range []struct {
		name string
		cond []store.Cond
		ok   bool
	}{
		{"mod holds", []store.Cond{{Key: "there", Rev: mod}}, true},
		{"mod is older", []store.Cond{{Key: "there", Rev: create}}, false},
		{"mod is newer", []store.Cond{{Key: "there", Rev: mod + 1000}}, false},
		{"create holds", []store.Cond{{Key: "there", Kind: store.CondCreate, Rev: create}}, true},
		{"create is another", []store.Cond{{Key: "there", Kind: store.CondCreate, Rev: mod}}, false},
		{"absent by mod", []store.Cond{{Key: "not"}}, true},
		{"absent by create", []store.Cond{{Key: "not", Kind: store.CondCreate}}, true},
		{"not absent by mod", []store.Cond{{Key: "there"}}, false},
		{"not absent by create", []store.Cond{{Key: "there", Kind: store.CondCreate}}, false},
		{"never there", []store.Cond{{Key: "not", Rev: mod}}, false},
		{"all hold", []store.Cond{{Key: "there", Rev: mod}, {Key: "not"}, {Key: "there", Kind: store.CondCreate, Rev: create}}, true},
		{"the last fails", []store.Cond{{Key: "there", Rev: mod}, {Key: "not", Rev: 1}}, false},
	} {
		key := "result of " + test.name
		_, err := s.Commit(within(t), store.Txn{If: test.cond, Then: []store.Op{put(key, "1")}})
		if test.ok {
			require.NoError(t, err, test.name)
			get(t, s, key)
			continue
		}
		require.Truef(t, isConflict(err), "%s: %v", test.name, err)
		absent(t, s, key)
	}
}

func conflictTellsWhy(t TB, s store.Store) {
	create := commit(t, s, put("a", "1"))
	mod := commit(t, s, put("a", "2"))
	now := commit(t, s, put("b", "1"))
	for _, test := range []struct {
		failed store.Cond
		found  store.Revision
	}{
		{store.Cond{Key: "a", Rev: create}, mod},
		{store.Cond{Key: "a", Kind: store.CondCreate, Rev: mod}, create},
		{store.Cond{Key: "a"}, mod},
		{store.Cond{Key: "not", Rev: mod}, 0},
	} {
		_, err := s.Commit(within(t), store.Txn{If: []store.Cond{{Key: "b", Rev: now}, test.failed, {Key: "b"}}, Then: []store.Op{put("c", "")}})
		var conflict *store.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, test.failed, conflict.Failed)
		require.Equal(t, test.found, conflict.Now)
		require.Equal(t, now, conflict.Rev)
	}
}

func refusedTransactionChangesNothing(t TB, s store.Store) {
	rev := commit(t, s, put("a", "1"), put("b", "1"))
	w := watch(t, s, "", rev)
	_, err := s.Commit(within(t), store.Txn{
		If:   []store.Cond{{Key: "a", Rev: rev}, {Key: "b"}},
		Then: []store.Op{put("a", "2"), del("b"), put("c", "2")},
	})
	require.True(t, isConflict(err), err)
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, contents(list(t, s, "").KVs))
	end := commit(t, s, put("d", "1"))
	b := next(t, w)
	require.Equal(t, end, b.Rev, "a refused transaction is seen by a watcher: %v", b.Events)
}

func guardFences(t TB, s store.Store) {
	key := store.LeaderPrefix + "x"
	old := commit(t, s, put(key, "old"))
	guard := store.Cond{Key: key, Kind: store.CondCreate, Rev: old}
	_, err := s.Commit(within(t), store.Txn{If: []store.Cond{guard}, Then: []store.Op{put("a", "old")}})
	require.NoError(t, err)

	commit(t, s, del(key))
	fenced := func(conds ...store.Cond) {
		_, err := s.Commit(within(t), store.Txn{If: conds, Then: []store.Op{put("a", "too late")}})
		var f *store.FencedError
		require.ErrorAs(t, err, &f, "a guard that does not hold does not fence: %v", conds)
		require.Equal(t, key, f.Key)
		require.Equal(t, "old", string(get(t, s, "a").Value))
	}
	fenced(guard)
	commit(t, s, put(key, "new"))
	fenced(guard)
	fenced(guard, store.Cond{Key: "a"})
	fenced(store.Cond{Key: "a"}, guard)
	fenced(store.Cond{Key: key, Kind: store.CondCreate}) // nobody leads

	_, err = s.Commit(within(t), store.Txn{If: []store.Cond{{Key: key}}, Then: []store.Op{put("a", "x")}})
	require.Truef(t, isConflict(err), "a CondMod on a leader's key is no guard: %v", err)
}

func changingNothingMakesNoRevision(t TB, s store.Store) {
	rev := commit(t, s, put("a", "1"))
	w := watch(t, s, "", rev)
	require.Equal(t, rev, commit(t, s))
	require.Equal(t, rev, commit(t, s, del("not")))
	same, err := s.Commit(within(t), store.Txn{If: []store.Cond{{Key: "a", Rev: rev}}, Then: []store.Op{del("not")}})
	require.NoError(t, err)
	require.Equal(t, rev, same)
	for _, ops := range [][]store.Op{nil, {del("not")}} {
		_, err := s.Commit(within(t), store.Txn{If: []store.Cond{{Key: "a"}}, Then: ops})
		require.Truef(t, isConflict(err), "conditions of a transaction that changes nothing: %v", err)
	}
	end := commit(t, s, del("not"), put("b", "1"), del("a"))
	b := next(t, w)
	require.Equal(t, end, b.Rev)
	require.Len(t, b.Events, 2, "the deletion of an absent key makes no event")
}

// transactionIsSeenWholeOrNot reads two keys while they change together.
func transactionIsSeenWholeOrNot(t TB, s store.Store) {
	const readers, reads = 2, 100
	commit(t, s, put("t/a", "0"), put("t/b", "0"))
	var reading, writing errgroup.Group
	ctx := within(t)
	done := make(chan struct{})
	writing.Go(func() error {
		for i := 0; ; i++ {
			select {
			case <-done:
				return nil
			default:
			}
			v := fmt.Sprint(i)
			if _, err := s.Commit(ctx, txn(put("t/a", v), put("t/b", v))); err != nil {
				return err
			}
		}
	})
	for range readers {
		reading.Go(func() error {
			var last store.Revision
			for n := 0; n < reads; {
				page, err := s.List(ctx, "t/", store.ReadOptions{})
				if err != nil {
					return err
				}
				c := contents(page.KVs)
				if c["t/a"] != c["t/b"] || len(c) != 2 {
					return fmt.Errorf("half a transaction at revision %d: %v", page.Rev, c)
				}
				if page.Rev != last { // only what is new counts
					last = page.Rev
					n++
				}
			}
			return nil
		})
	}
	err := reading.Wait()
	close(done)
	require.NoError(t, errors.Join(err, writing.Wait()))
}

func limitsAreKept(t TB, s store.Store) {
	value := func(n int) []byte { return bytes.Repeat([]byte{'v'}, n) }
	many := func(n int) (ops []store.Op) {
		for i := range n {
			ops = append(ops, put(fmt.Sprintf("many/%d", i), ""))
		}
		return ops
	}
	big := func(last int) []store.Op { // keys of one byte
		ops := []store.Op{{Key: "e", Value: value(last)}}
		for _, k := range []string{"a", "b", "c", "d"} {
			ops = append(ops, store.Op{Key: k, Value: value(store.MaxValueBytes - 2)})
		}
		return ops
	}
	conds := func(n int) (all []store.Cond) {
		for i := range n {
			all = append(all, store.Cond{Key: fmt.Sprintf("no/%d", i)})
		}
		return all
	}
	condsLimitsAreKept(t, s, many(store.MaxTxnOps), conds)
	for _, test := range []struct {
		name string
		ops  []store.Op
		ok   bool
	}{
		{"operations at the limit", many(store.MaxTxnOps), true},
		{"operations over it", many(store.MaxTxnOps + 1), false},
		{"value at the limit", []store.Op{{Key: "v", Value: value(store.MaxValueBytes)}}, true},
		{"value over it", []store.Op{{Key: "v2", Value: value(store.MaxValueBytes + 1)}}, false},
		{"key at the limit", []store.Op{put(strings.Repeat("k", store.MaxKeyBytes), "")}, true},
		{"key over it", []store.Op{put(strings.Repeat("k", store.MaxKeyBytes+1), "")}, false},
		{"transaction at the limit", big(3), true},
		{"transaction over it", big(4), false},
	} {
		before := list(t, s, "").Rev
		rev, err := s.Commit(within(t), txn(test.ops...))
		if test.ok {
			require.NoError(t, err, test.name)
			require.Greater(t, rev, before, test.name)
			require.Equal(t, string(test.ops[0].Value), string(get(t, s, test.ops[0].Key).Value), test.name)
			continue
		}
		require.ErrorIs(t, err, store.ErrTooLarge, test.name)
		require.Equal(t, before, list(t, s, "").Rev, test.name)
	}
}

// condsLimitsAreKept: a full transaction may have as many conditions.
func condsLimitsAreKept(t TB, s store.Store, ops []store.Op, conds func(n int) []store.Cond) {
	before := list(t, s, "").Rev
	for name, some := range map[string][]store.Cond{
		"conditions over the limit":      conds(store.MaxTxnOps + 1),
		"a condition with a key over it": {{Key: strings.Repeat("k", store.MaxKeyBytes+1)}},
	} {
		_, err := s.Commit(within(t), store.Txn{If: some, Then: ops})
		require.ErrorIs(t, err, store.ErrTooLarge, name)
		require.Equal(t, before, list(t, s, "").Rev, name)
	}
	_, err := s.Commit(within(t), store.Txn{If: conds(store.MaxTxnOps), Then: ops})
	require.NoError(t, err, "conditions and operations at the limit")
}

func nonsenseIsRefused(t TB, s store.Store) {
	rev := commit(t, s, put("a", "1"))
	for name, x := range map[string]store.Txn{
		"a key twice":             txn(put("a", "2"), put("a", "3")),
		"written and deleted":     txn(put("a", "2"), del("a")),
		"no key":                  txn(put("", "2")),
		"a condition without key": {If: []store.Cond{{}}, Then: []store.Op{put("a", "2")}},
		"a negative revision":     {If: []store.Cond{{Key: "a", Rev: -1}}, Then: []store.Op{put("a", "2")}},
		"an unknown comparison":   {If: []store.Cond{{Key: "a", Kind: 7, Rev: rev}}, Then: []store.Op{put("a", "2")}},
	} {
		_, err := s.Commit(within(t), x)
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
	for name, o := range map[string]store.ReadOptions{
		"After without At": {After: "a"},
		"a future At":      {At: rev + 1000},
		"the next At":      {At: rev + 1},
		"a negative At":    {At: -1},
		"a negative Limit": {Limit: -1},
	} {
		_, err := s.List(within(t), "", o)
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
	for _, future := range []store.Revision{rev + 1, rev + 1000} {
		require.ErrorIs(t, s.Compact(within(t), future), store.ErrInvalid)
	}
	for _, ttl := range []time.Duration{0, -time.Hour} {
		_, err := s.Grant(within(t), ttl)
		require.ErrorIs(t, err, store.ErrInvalid)
	}
	require.Equal(t, rev, get(t, s, "a").Mod)
}
