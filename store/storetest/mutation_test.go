package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/store/storetest"
)

// mutantPatience ends a check that waits for what a mutant never does. A
// sound engine does it in half of that.
const mutantPatience = 15 * time.Second

// recorder is a test that may fail without failing this one.
type recorder struct {
	ctx context.Context

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

var _ storetest.TB = (*recorder)(nil)

func (r *recorder) Helper()                  {}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) FailNow()                 { r.Errorf("FailNow"); runtime.Goexit() }
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// failures runs a check against a store, and returns what it complained about.
func failures(ctx context.Context, check func(storetest.TB, store.Store), s store.Store) []string {
	r := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r, s)
	}()
	<-done
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	_ = s.Close() // some mutants cannot
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

func check(t *testing.T, name string) func(storetest.TB, store.Store) {
	t.Helper()
	for _, p := range storetest.Promises() {
		if p.Name == name {
			return p.Check
		}
	}
	require.Fail(t, "no such promise", name)
	return nil
}

// TestKitCatches breaks the reference engine, one promise at a time. A "commit
// acknowledged before sync" shows only when the power is cut: package bolt's
// TestPowerCutCatchesCommitAcknowledgedBeforeSync breaks the engine so.
func TestKitCatches(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), mutantPatience)
	defer cancel()
	var mutants []func() string
	for _, test := range []struct {
		name     string
		breaks   func(*broken)
		caughtBy []string
		says     string // of the first promise: what is wrong, not only that something is
	}{
		{"transaction split over two watch batches", func(b *broken) { b.next = splitBatches() },
			[]string{"WatchSeesEverythingWholeInOrderOnce", "WatchSeesOnlyItsPrefix", "BehavesLikeAMap"}, "is not whole"},
		{"watch starts one revision late", func(b *broken) { b.after = 1 },
			[]string{"WatchTellsWhatHappened", "ListThenWatchHasNoGapAndNoOverlap", "CompactedWatchFailsAtOnce"}, "the next batch does not come"},
		{"watch starts one revision early", func(b *broken) { b.after = -1 },
			[]string{"ListThenWatchHasNoGapAndNoOverlap", "WatchTellsWhatHappened"}, ""},
		{"watch drops a batch", func(b *broken) { b.next = dropEvery(7) },
			[]string{"WatchSeesEverythingWholeInOrderOnce"}, ""},
		{"watch repeats a batch", func(b *broken) { b.next = repeatEvery(7) },
			[]string{"WatchSeesEverythingWholeInOrderOnce"}, ""},
		{"watch ignores the prefix", func(b *broken) { b.noPrefix = true },
			[]string{"WatchSeesOnlyItsPrefix"}, ""},
		{"watch reports no progress", func(b *broken) { b.next = silent },
			[]string{"WatchReportsProgress"}, ""},
		{"progress runs ahead", func(b *broken) { b.next = progressAhead },
			[]string{"WatchReportsProgress"}, ""},
		{"Next loses a batch when given up", func(b *broken) { b.next = eager },
			[]string{"NextGivenUpLosesNothing"}, ""},
		{"watcher ends with the call", func(b *broken) { b.watchDies = true },
			[]string{"WatcherOutlivesTheCall"}, ""},
		{"closed watcher goes on", func(b *broken) { b.closeKeeps = true },
			[]string{"ClosedWatcherEnds"}, ""},
		{"compacted start served silently", func(b *broken) { b.watchMoves = true },
			[]string{"CompactedWatchFailsAtOnce"}, "a start that was compacted away, after"},
		{"future start is accepted", func(b *broken) { b.watchFuture = true },
			[]string{"FutureWatchIsRefused"}, ""},
		{"slow watcher loses its place silently", func(b *broken) { b.slowMoves = true },
			[]string{"SlowWatcherBlocksNobody"}, ""},
		{"conditions not checked", func(b *broken) { b.txn = func(x *store.Txn) { x.If = nil } },
			[]string{"ConditionsDecide", "ConflictTellsWhy", "AcknowledgedIsSeenByAll", "BehavesLikeAMap"}, ""},
		{"only the first condition checked", func(b *broken) { b.txn = func(x *store.Txn) { x.If = x.If[:min(1, len(x.If))] } },
			[]string{"ConditionsDecide", "RefusedTransactionChangesNothing"}, ""},
		{"guard not checked", func(b *broken) { b.txn = withoutGuards },
			[]string{"GuardFences", "OldLeaderIsFenced"}, "a guard that does not hold does not fence"},
		{"guard is a conflict", func(b *broken) { b.err = fenceIsConflict },
			[]string{"GuardFences", "OldLeaderIsFenced"}, ""},
		{"conflict is an unknown outcome", func(b *broken) { b.err = conflictIsUnknown },
			[]string{"ConditionsDecide"}, ""},
		{"transaction is applied in parts", func(b *broken) { b.parts = true },
			[]string{"TransactionIsSeenWholeOrNot", "WatchSeesEverythingWholeInOrderOnce", "BehavesLikeAMap"}, ""},
		{"acknowledged and lost", func(b *broken) { b.loseEvery = 9 },
			[]string{"AcknowledgedIsSeenByAll", "BehavesLikeAMap", "RevisionsGrow"}, ""},
		{"stale reads go back", func(b *broken) { b.staleBack = true },
			[]string{"StaleReadsNeverGoBack"}, ""},
		{"reads are stale", func(b *broken) { b.staleGet = true },
			[]string{"RecordsKeepTheirRevisions"}, ""},
		{"limits are not kept", func(b *broken) { b.err = tooLargeIsFine },
			[]string{"LimitsAreKept"}, ""},
		{"nonsense is accepted", func(b *broken) { b.err = invalidIsFine },
			[]string{"NonsenseIsRefused"}, ""},
		{"pages show the present", func(b *broken) { b.pagesMove = true },
			[]string{"PagesShowOneState", "BehavesLikeAMap"}, ""},
		{"compaction deletes records", func(b *broken) { b.compactEats = true },
			[]string{"CompactKeepsRecords"}, ""},
		{"compaction does nothing", func(b *broken) { b.noCompact = true },
			[]string{"CompactedWatchFailsAtOnce", "CompactedPageFails"}, ""},
		{"lease ends early", func(b *broken) { b.lease = endsEarly },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, "the lease ended "},
		{"lease is not renewed", func(b *broken) { b.lease = notRenewed },
			[]string{"LeaseIsRenewed"}, ""},
		{"lease never ends", func(b *broken) { b.lease = neverEnds },
			[]string{"LeaseEndsNeverEarlyInOneTransaction", "OldLeaderIsFenced"}, ""},
		{"lease deadline is too late", func(b *broken) { b.deadline = time.Hour },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, ""},
		{"lease deadline is too early", func(b *broken) { b.deadline = -time.Hour },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, ""},
		{"revoke does nothing", func(b *broken) { b.noRevoke = true },
			[]string{"RevokeDeletesAtOnce", "EndedLeaseIsRefused"}, ""},
		{"ended lease is accepted", func(b *broken) { b.anyLease = true },
			[]string{"EndedLeaseIsRefused"}, ""},
		{"leases do not bind", func(b *broken) { b.txn = withoutLeases },
			[]string{"RevokeDeletesAtOnce", "LeaseEndsOnceTooWithManyKeys", "RecordsLeaveTheirLease"}, ""},
		{"ended context is ignored", func(b *broken) { b.noCtx = true },
			[]string{"EndedContextChangesNothing"}, ""},
		{"given up means not applied", func(b *broken) { b.givenUp = true },
			[]string{"OutcomesAreNeverFalselyClaimed"}, ""},
		{"close is ignored", func(b *broken) { b.noClose = true },
			[]string{"CloseEndsEverything"}, ""},
		{"id changes", func(b *broken) { b.newID = true },
			[]string{"IDIsSetAndStable"}, ""},
	} {
		for i, promise := range test.caughtBy {
			checks := check(t, promise)
			mutants = append(mutants, func() string {
				b := &broken{Store: mem.New()}
				test.breaks(b)
				said := strings.Join(failures(ctx, checks, b), "\n")
				switch {
				case said == "":
					return promise + " did not see: " + test.name
				case i == 0 && !strings.Contains(said, test.says):
					return fmt.Sprintf("%s is red for another reason than %s: want %q in %s", promise, test.name, test.says, said)
				}
				return ""
			})
		}
	}
	require.Empty(t, all(mutants))
}

// all runs mutants together, as most of them only wait, and returns what was not caught.
func all(mutants []func() string) []string {
	missed := make([]string, len(mutants))
	var g errgroup.Group
	for i, mutant := range mutants {
		g.Go(func() error {
			missed[i] = mutant()
			return nil
		})
	}
	_ = g.Wait() // no mutant returns an error
	return slices.DeleteFunc(missed, func(s string) bool { return s == "" })
}

// TestKitAcceptsTheWrapper: what the mutants are made of is sound without a mutation.
func TestKitAcceptsTheWrapper(t *testing.T) {
	for _, p := range storetest.Promises() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, failures(t.Context(), p.Check, &broken{Store: mem.New()}))
		})
	}
}

// TestDurableKitCatches runs the durable promises against engines that forget.
func TestDurableKitCatches(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), mutantPatience)
	defer cancel()
	var mutants []func() string
	for _, d := range storetest.DurablePromises() {
		mutants = append(mutants, func() string {
			forgets := func(r storetest.TB, _ store.Store) {
				d.Check(r, func() store.Store { return mem.New() })
			}
			if len(failures(ctx, forgets, mem.New())) > 0 {
				return ""
			}
			return d.Name
		})
	}
	require.Empty(t, all(mutants))
}

func withoutGuards(x *store.Txn) {
	var conds []store.Cond
	for _, c := range x.If {
		if c.Kind != store.CondCreate {
			conds = append(conds, c)
		}
	}
	x.If = conds
}

func withoutLeases(x *store.Txn) {
	ops := make([]store.Op, len(x.Then))
	for i, op := range x.Then {
		op.Lease = 0
		ops[i] = op
	}
	x.Then = ops
}

func fenceIsConflict(err error) error {
	var fenced *store.FencedError
	if errors.As(err, &fenced) {
		return &store.ConflictError{Failed: store.Cond{Key: fenced.Key}}
	}
	return err
}

func conflictIsUnknown(err error) error {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return &store.UnknownError{Err: err}
	}
	return err
}

func tooLargeIsFine(err error) error {
	if errors.Is(err, store.ErrTooLarge) {
		return nil
	}
	return err
}

func invalidIsFine(err error) error {
	if errors.Is(err, store.ErrInvalid) {
		return nil
	}
	return err
}
