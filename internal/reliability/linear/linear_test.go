package linear_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/mem"
)

func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("STRATOS_TEST_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "STRATOS_TEST_SEED")
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	return seed
}

func TestMem(t *testing.T) {
	s := mem.New()
	defer s.Close()
	r, err := linear.Run(t.Context(), linear.Options{Store: func(int) linear.Store { return s }, Seed: testSeed(t), Dir: t.TempDir()})
	require.NoError(t, err)
	require.True(t, r.Linearizable)
	require.Zero(t, r.Unknown)
	require.GreaterOrEqual(t, r.Operations, 5000)
	t.Logf("%+v", r)
}

// TestBoltReopened closes and opens the store again and again while clients use it.
func TestBoltReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	first, err := bolt.Open(path, nil)
	require.NoError(t, err)
	var now atomic.Pointer[bolt.Store]
	now.Store(first)
	reopened := 0
	r, err := linear.Run(t.Context(), linear.Options{
		Store: func(int) linear.Store { return now.Load() },
		Nemesis: func(ctx context.Context) error {
			for ctx.Err() == nil {
				s := now.Load()
				w, err := s.Watch(ctx, "", 0)
				if err != nil {
					return nil // ctx ended
				}
				for range 100 * (reopened + 1) {
					if _, err := w.Next(ctx); err != nil {
						return nil // ctx ended
					}
				}
				if err := s.Close(); err != nil {
					return err
				}
				again, err := bolt.Open(path, nil)
				if err != nil {
					return err
				}
				now.Store(again)
				reopened++
			}
			return nil
		},
		Operations: 3000, Seed: testSeed(t), Dir: t.TempDir(),
	})
	require.NoError(t, now.Load().Close())
	require.NoError(t, err)
	require.True(t, r.Linearizable)
	require.Positive(t, reopened)
	t.Logf("%+v, opened again %d times", r, reopened)
}

// wrong is a store that breaks its promise now and then.
type wrong struct {
	store.Store
	n   atomic.Int64
	old atomic.Pointer[store.KV]

	stale, unchecked, denied bool
}

func (w *wrong) Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	kv, rev, err := w.Store.Get(ctx, key, o)
	if w.stale && err == nil && key == "linear/0" {
		if old := w.old.Load(); old != nil && w.n.Add(1)%5 == 0 {
			return *old, rev, nil
		}
		w.old.CompareAndSwap(nil, &kv)
	}
	return kv, rev, err
}

func (w *wrong) Commit(ctx context.Context, x store.Txn) (store.Revision, error) {
	rev, err := w.Store.Commit(ctx, x)
	var conflict *store.ConflictError
	switch {
	case w.unchecked && errors.As(err, &conflict) && w.n.Add(1)%10 == 0:
		x.If = nil
		return w.Store.Commit(ctx, x)
	case w.denied && err == nil && w.n.Add(1)%10 == 0:
		return 0, store.ErrFull // but it was applied
	}
	return rev, err
}

func TestWrongStoresAreRejected(t *testing.T) {
	for _, test := range []struct {
		name  string
		store *wrong
	}{
		{"a stale read", &wrong{Store: mem.New(), stale: true}},
		{"conditions not checked", &wrong{Store: mem.New(), unchecked: true}},
		{"applied, and denied", &wrong{Store: mem.New(), denied: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer test.store.Close()
			dir := t.TempDir()
			r, err := linear.Run(t.Context(), linear.Options{
				Store: func(int) linear.Store { return test.store }, Operations: 1000, Seed: testSeed(t), Dir: dir,
			})
			require.False(t, r.Linearizable)
			require.ErrorContains(t, err, dir, "the history is saved")
		})
	}
}

// TestFalsifiedHistoryIsRejected changes one read.
func TestFalsifiedHistoryIsRejected(t *testing.T) {
	key := 0
	write := func(client int, call int64, value string, rev store.Revision) linear.Operation {
		return linear.Operation{Client: client, Call: call, Return: call + 1, Rev: rev, Then: []linear.Change{{Key: key, Value: value}}}
	}
	read := func(call int64, value string, mod, rev store.Revision) linear.Operation {
		op := linear.Operation{Client: 1, Call: call, Return: call + 1, Get: &key, Rev: rev}
		op.Saw[key] = linear.Record{Value: value, Mod: mod, Create: 1}
		return op
	}
	lost := write(2, 5, "c", 0)
	lost.Unknown = true
	cas := func(call int64, kind store.CondKind, at, rev store.Revision) linear.Operation {
		op := write(1, call, "d", rev)
		op.If = []linear.Condition{{Key: key, Kind: kind, Rev: at}}
		return op
	}
	refused := func(call int64, kind store.CondKind, at, now, rev store.Revision) linear.Operation {
		op := cas(call, kind, at, rev)
		op.Conflict, op.Failed, op.Now = true, op.If[0], now
		return op
	}
	for _, test := range []struct {
		name    string
		history []linear.Operation
		want    bool
	}{
		{"as it was", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), read(9, "b", 2, 2)}, true},
		{"an older read", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), read(9, "a", 1, 2)}, false},
		{"an older revision", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), read(9, "b", 2, 1)}, false},
		{"the revision of another", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), read(9, "b", 1, 2)}, false},
		{"a revision twice", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 1)}, false},
		{"an unknown outcome that did happen", []linear.Operation{write(0, 1, "a", 1), lost, read(9, "c", 3, 3)}, true},
		{"one that did not", []linear.Operation{write(0, 1, "a", 1), lost, read(9, "a", 1, 1)}, true},
		{"one that happened and did not", []linear.Operation{write(0, 1, "a", 1), lost, read(9, "c", 3, 3), read(11, "a", 1, 3)}, false},
		{"created at 1", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), cas(9, store.CondCreate, 1, 3)}, true},
		{"created at 2, it says", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), cas(9, store.CondCreate, 2, 3)}, false},
		{"refused, and told why", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), refused(9, store.CondCreate, 2, 1, 2)}, true},
		{"refused, and told wrongly", []linear.Operation{write(0, 1, "a", 1), write(0, 3, "b", 2), refused(9, store.CondCreate, 2, 2, 2)}, false},
		{"refused without a reason", []linear.Operation{write(0, 1, "a", 1), refused(9, store.CondCreate, 1, 1, 1)}, false},
		{"an unknown outcome that a conflict told of", []linear.Operation{write(0, 1, "a", 1), lost, refused(9, store.CondMod, 1, 3, 3), cas(11, store.CondMod, 3, 4)}, true},
		{"and that is then another", []linear.Operation{write(0, 1, "a", 1), lost, refused(9, store.CondMod, 1, 3, 3), cas(11, store.CondMod, 2, 4)}, false},
		{"one that happened before it was asked for", []linear.Operation{write(0, 1, "a", 1), read(3, "c", 3, 3), lost}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, linear.Judge(test.history).Linearizable)
		})
	}
}
