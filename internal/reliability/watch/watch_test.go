package watch_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/watch"
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

func run(t *testing.T, s store.Store, events int) watch.Result {
	t.Helper()
	defer func() { require.NoError(t, s.Close()) }()
	r, err := watch.Run(t.Context(), watch.Options{Store: s, Events: events, Seed: testSeed(t)})
	require.NoError(t, err)
	t.Logf("%+v", r)
	return r
}

func TestWatchContract(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(t *testing.T) store.Store
	}{
		{"mem", func(*testing.T) store.Store { return mem.New() }},
		{"bolt", func(t *testing.T) store.Store {
			s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), nil)
			require.NoError(t, err)
			return s
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := run(t, test.open(t), 30_000)
			require.GreaterOrEqual(t, r.Events, 30_000)
			require.Positive(t, r.Reconnects)
			require.Positive(t, r.Relists)
			require.Zero(t, r.Gaps+r.Duplicates+r.Reorders+r.Splits+r.Wrong+r.Lost)
		})
	}
}

// broken is a store whose watchers do something wrong with some batches.
type broken struct {
	store.Store
	after store.Revision
	next  func(n int, w *brokenWatcher, ctx context.Context) (store.Batch, error)
}

type brokenWatcher struct {
	store.Watcher
	store *broken
	n     int
	held  []store.Batch
}

func (b *broken) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	w, err := b.Store.Watch(ctx, prefix, after+b.after)
	if err != nil {
		return b.Store.Watch(ctx, prefix, after)
	}
	return &brokenWatcher{Watcher: w, store: b}, nil
}

func (w *brokenWatcher) Next(ctx context.Context) (store.Batch, error) {
	w.n++
	if len(w.held) > 0 {
		b := w.held[0]
		w.held = w.held[1:]
		return b, nil
	}
	if w.n%50 == 0 && w.store.next != nil {
		return w.store.next(w.n, w, ctx)
	}
	return w.Watcher.Next(ctx)
}

func TestBreachesAreCounted(t *testing.T) {
	type next = func(int, *brokenWatcher, context.Context) (store.Batch, error)
	twoOf := func(f func(a, b store.Batch, w *brokenWatcher) store.Batch) next {
		return func(_ int, w *brokenWatcher, ctx context.Context) (store.Batch, error) {
			a, err := w.Watcher.Next(ctx)
			if err != nil || len(a.Events) == 0 {
				return a, err
			}
			b, err := w.Watcher.Next(ctx)
			if err != nil || len(b.Events) == 0 {
				return a, nil
			}
			return f(a, b, w), nil
		}
	}
	for _, test := range []struct {
		name   string
		after  store.Revision
		next   next
		counts func(watch.Result) int
	}{
		{"a gap", 0, twoOf(func(_, b store.Batch, _ *brokenWatcher) store.Batch { return b }),
			func(r watch.Result) int { return r.Gaps }},
		{"a start one revision late", 1, nil, func(r watch.Result) int { return r.Gaps }},
		{"a duplicate", 0, twoOf(func(a, b store.Batch, w *brokenWatcher) store.Batch { w.held = []store.Batch{a, b}; return a }),
			func(r watch.Result) int { return r.Duplicates }},
		{"a reorder", 0, twoOf(func(a, b store.Batch, w *brokenWatcher) store.Batch { w.held = []store.Batch{a}; return b }),
			func(r watch.Result) int { return r.Reorders }},
		{"a split", 0, func(_ int, w *brokenWatcher, ctx context.Context) (store.Batch, error) {
			b, err := w.Watcher.Next(ctx)
			if len(b.Events) > 1 {
				w.held = []store.Batch{{Rev: b.Rev, Events: b.Events[1:]}}
				b.Events = b.Events[:1]
			}
			return b, err
		}, func(r watch.Result) int { return r.Splits }},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Positive(t, test.counts(run(t, &broken{Store: mem.New(), after: test.after, next: test.next}, 3000)))
		})
	}
}
