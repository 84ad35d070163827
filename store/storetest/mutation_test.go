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
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/store/storetest"
)

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

// failures runs a check, and returns what it complained about. The check has
// come to its end then, and so has what it cleans up.
func failures(t *testing.T, check func(storetest.TB)) string {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r)
	}()
	<-done
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.failures, "\n")
}

// inFakeTime runs a check in time that passes when everybody waits, and
// returns what it complained about: what a mutant never does costs nothing.
func inFakeTime(t *testing.T, check func(storetest.TB, store.Store), breaks func(*broken)) (said string) {
	synctest.Test(t, func(t *testing.T) {
		engine := mem.New()
		b := &broken{Store: engine}
		breaks(b)
		said = failures(t, func(r storetest.TB) { check(r, b) })
		require.NoError(t, engine.Close()) // some mutants cannot
	})
	return said
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

// mutant is a way to break a promise.
type mutant struct {
	name     string
	breaks   func(*broken)
	caughtBy []string
	says     string // of the first promise: what is wrong, not only that something is
}

// TestKitCatches breaks the reference engine, one promise at a time. A "commit
// acknowledged before sync" shows only when the power is cut: package bolt's
// TestPowerCutCatchesCommitAcknowledgedBeforeSync breaks the engine so.
func TestKitCatches(t *testing.T) {
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for i, promise := range m.caughtBy {
				said := inFakeTime(t, check(t, promise), m.breaks)
				require.NotEmpty(t, said, "%s did not see it", promise)
				if i == 0 {
					require.Contains(t, said, m.says, "%s is red for another reason", promise)
				}
			}
		})
	}
}

// TestEveryPromiseHasAMutant: a check that catches nothing checks nothing.
func TestEveryPromiseHasAMutant(t *testing.T) {
	caught := make(map[string]bool)
	for _, m := range mutants() {
		for _, promise := range m.caughtBy {
			caught[promise] = true
		}
	}
	for _, m := range durableMutants() {
		caught[m.caughtBy] = true
	}
	for _, p := range storetest.Promises() {
		require.True(t, caught[p.Name], p.Name)
	}
	for _, d := range storetest.DurablePromises() {
		require.True(t, caught[d.Name], d.Name)
	}
}

// TestKitAcceptsTheWrapper: what the mutants are made of is sound without a mutation.
func TestKitAcceptsTheWrapper(t *testing.T) {
	for _, p := range storetest.Promises() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, inFakeTime(t, p.Check, func(*broken) {}))
		})
	}
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

func canceledIsUnknown(err error) error {
	if errors.Is(err, context.Canceled) {
		return &store.UnknownError{Err: err}
	}
	return err
}

func conflictWithoutRevision(err error) error {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return &store.ConflictError{Failed: conflict.Failed, Now: conflict.Now, Rev: conflict.Rev + 1}
	}
	return err
}

func changesSomething(x *store.Txn) {
	if len(x.Then) == 0 {
		x.Then = []store.Op{{Key: "nothing"}}
	}
}

func checksOnlyChanges(x *store.Txn) {
	if len(x.Then) == 0 {
		x.If = nil
	}
}
