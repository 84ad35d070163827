// Package storetest is the conformance kit of package store: what every engine
// promises, one check for each promise. The author of an engine runs it with
// one call, from any module:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return mine.New() })
//	}
//
// An engine that keeps its records over a restart runs [RunDurable] too. The
// checks wait for conditions, never for a time; a check of a lease or of a
// progress mark takes some seconds, and all run in parallel.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

// patience is how long a check waits for what was promised. Only a broken
// engine, or a machine that hangs, uses it up.
const patience = 30 * time.Second

// shortTTL is the ttl of leases that a check sees ending. An engine may grant a longer one.
const shortTTL = time.Second

// TB is what a check needs of a test; *testing.T is one. It is an interface so
// that the kit itself can be tested with engines that break a promise.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
	Cleanup(f func())
	Context() context.Context
}

// Promise is one check of an engine. Store is fresh, and closed by whoever made it.
type Promise struct {
	Name  string
	Check func(t TB, s store.Store)
}

// Durable is one check of an engine that survives. Open opens the same store
// again; the check closes what it opened before that.
type Durable struct {
	Name  string
	Check func(t TB, open func() store.Store)
}

// Promises returns what every engine promises.
func Promises() []Promise {
	var all []Promise
	for _, some := range [][]Promise{
		recordPromises(), txnPromises(), listPromises(), watchPromises(), historyPromises(), leasePromises(), leaderPromises(), followPromises(), modelPromises(),
	} {
		all = append(all, some...)
	}
	return all
}

// Run checks all promises, each with a fresh and empty store that it closes.
func Run(t *testing.T, fresh func(t *testing.T) store.Store) {
	for _, p := range Promises() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			p.Check(t, s)
		})
	}
}

// RunDurable checks what an engine promises that survives a restart. Open
// opens the store in dir, or creates it.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	for _, d := range DurablePromises() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d.Check(t, func() store.Store {
				s := open(t, dir)
				t.Cleanup(func() { _ = s.Close() }) // the check closes it; this is for one that failed
				return s
			})
		})
	}
}

// within returns a context for a step that must come to its end.
func within(t TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until what was promised is so.
func eventually(t TB, so func() bool, why string) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(shortTTL / 50)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, why)
			return
		}
	}
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

func txn(ops ...store.Op) store.Txn { return store.Txn{Then: ops} }

func commit(t TB, s store.Store, ops ...store.Op) store.Revision {
	t.Helper()
	rev, err := s.Commit(within(t), txn(ops...))
	require.NoError(t, err)
	return rev
}

func get(t TB, s store.Store, key string) store.KV {
	t.Helper()
	kv, _, err := s.Get(within(t), key, store.ReadOptions{})
	require.NoError(t, err)
	return kv
}

func absent(t TB, s store.Store, key string) {
	t.Helper()
	_, _, err := s.Get(within(t), key, store.ReadOptions{})
	require.ErrorIs(t, err, store.ErrNotFound)
}

func list(t TB, s store.Store, prefix string) store.Page {
	t.Helper()
	page, err := s.List(within(t), prefix, store.ReadOptions{})
	require.NoError(t, err)
	return page
}

func watch(t TB, s store.Store, prefix string, after store.Revision) store.Watcher {
	t.Helper()
	w, err := s.Watch(within(t), prefix, after)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// next returns the next batch that is no progress mark.
func next(t TB, w store.Watcher) store.Batch {
	t.Helper()
	b, err := nextEvents(within(t), w)
	require.NoError(t, err, "the next batch does not come")
	return b
}

func nextEvents(ctx context.Context, w store.Watcher) (store.Batch, error) {
	for {
		b, err := w.Next(ctx)
		if err != nil || len(b.Events) > 0 {
			return b, err
		}
	}
}

// contents are the values of records by key.
func contents(kvs []store.KV) map[string]string {
	m := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		m[kv.Key] = string(kv.Value)
	}
	return m
}

func keys(kvs []store.KV) []string {
	all := make([]string, len(kvs))
	for i, kv := range kvs {
		all[i] = kv.Key
	}
	return all
}
