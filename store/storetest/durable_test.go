package storetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/storetest"
)

// durableMutant is a way to break what survives a restart. Opened is called
// after each opening of the file, n counts them from 0.
type durableMutant struct {
	name     string
	caughtBy string
	says     string
	opened   func(t *testing.T, b *broken, n int)
}

func durableMutants() []durableMutant {
	return []durableMutant{
		{"record is lost", "ReopeningKeepsRecordsAndID", "Not equal", afterRestart(loseRecord)},
		{"record is lost, and the rest goes on", "BehavesLikeAMapOverRestarts", "Not equal", afterRestart(loseRecord)},
		{"generation rises", "ReopeningKeepsRecordsAndID", "Not equal", afterRestart(func(_ *testing.T, b *broken) { b.id = secondGeneration })},
		{"revisions are used again", "ReopeningNeverReusesRevisions", "is not greater than", afterRestart(func(_ *testing.T, b *broken) { b.apply = oneLess })},
		{"history is lost", "ReopeningKeepsHistory", "history compacted", afterRestart(compactAll)},
		{"compaction is forgotten", "ReopeningKeepsCompaction", "compacted away is served", afterRestart(func(_ *testing.T, b *broken) { b.watchMoves = true })},
		{"leases end early", "ReopeningGivesLeasesAFullTTL", "ended early", afterRestart(endLeases)},
		{"keys are lost with the process that leased them", "ReopeningGivesLeasesAFullTTL", "Not equal", afterRestart(dropLeased)},
		{"ids of leases are used again", "ReopeningReusesNoLease", "Should not be", func(_ *testing.T, b *broken, _ int) {
			b.alter = func(l *brokenLease) { l.id = 1 }
		}},
		{"old lease deposes the new leader", "LeaderComesBackAtOnce", "no longer the leader", afterRestart(func(_ *testing.T, b *broken) { b.apply = keepsDeletedLeases() })},
		{"acknowledged while closing", "ClosingWhileWritingClaimsNothingFalse", "acknowledged, and lost", func(_ *testing.T, b *broken, _ int) { acknowledgeOnceClosed(b) }},
	}
}

func afterRestart(breaks func(*testing.T, *broken)) func(*testing.T, *broken, int) {
	return func(t *testing.T, b *broken, n int) {
		if n > 0 {
			breaks(t, b)
		}
	}
}

func all(t *testing.T, s store.Store) store.Page {
	page, err := s.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	return page
}

func remove(t *testing.T, s store.Store, key string) {
	_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: key, Delete: true}}})
	require.NoError(t, err)
}

func loseRecord(t *testing.T, b *broken) {
	if kvs := all(t, b.Store).KVs; len(kvs) > 0 {
		remove(t, b.Store, kvs[0].Key)
	}
}

func compactAll(t *testing.T, b *broken) {
	require.NoError(t, b.Store.Compact(t.Context(), all(t, b.Store).Rev))
}

// endLeases deletes what was leased when half of the time is over.
func endLeases(t *testing.T, b *broken) {
	time.AfterFunc(500*time.Millisecond, func() {
		if page, err := b.Store.List(context.Background(), "", store.ReadOptions{}); err == nil {
			for _, kv := range page.KVs {
				if kv.Lease != 0 {
					_, _ = b.Store.Commit(context.Background(), store.Txn{Then: []store.Op{{Key: kv.Key, Delete: true}}})
				}
			}
		}
	})
}

func dropLeased(t *testing.T, b *broken) {
	for _, kv := range all(t, b.Store).KVs {
		if kv.Lease != 0 {
			remove(t, b.Store, kv.Key)
		}
	}
}

// keepsDeletedLeases gives a key that is made again the lease that it had.
func keepsDeletedLeases() applier {
	had := make(map[string]store.LeaseID)
	return eachTxn(func(ctx context.Context, s store.Store, x *store.Txn) error {
		for i, op := range x.Then {
			kv, _, err := s.Get(ctx, op.Key, store.ReadOptions{})
			switch lease, again := had[op.Key]; {
			case op.Delete && err == nil:
				had[op.Key] = kv.Lease
			case !op.Delete && again && op.Lease != 0:
				x.Then[i].Lease = lease
			}
		}
		return nil
	})
}

// acknowledgeOnceClosed claims once that what came too late is done.
func acknowledgeOnceClosed(b *broken) {
	var lied atomic.Bool
	b.err = func(err error) error {
		if errors.Is(err, store.ErrClosed) && lied.CompareAndSwap(false, true) {
			return nil
		}
		return err
	}
}

// TestDurableKitCatches breaks a durable engine, one promise at a time.
func TestDurableKitCatches(t *testing.T) {
	for _, m := range durableMutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			said := durably(t, m.caughtBy, m.opened)
			require.NotEmpty(t, said, "%s did not see it", m.caughtBy)
			require.Contains(t, said, m.says, "%s is red for another reason", m.caughtBy)
		})
	}
}

// TestDurableKitAcceptsTheWrapper: the same, without a mutation.
func TestDurableKitAcceptsTheWrapper(t *testing.T) {
	for _, d := range storetest.DurablePromises() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, durably(t, d.Name, func(*testing.T, *broken, int) {}))
		})
	}
}

// durably runs a check, in fake time, and returns what it complained about.
func durably(t *testing.T, promise string, opened func(*testing.T, *broken, int)) (said string) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		var engines []store.Store
		open := func() store.Store {
			engine, err := bolt.Open(path, nil)
			require.NoError(t, err)
			b := &broken{Store: engine}
			opened(t, b, len(engines))
			engines = append(engines, engine)
			return b
		}
		said = failures(t, func(r storetest.TB) { durable(t, promise).Check(r, open) })
		for _, engine := range engines {
			require.NoError(t, engine.Close())
		}
	})
	return said
}

func durable(t *testing.T, name string) storetest.Durable {
	t.Helper()
	for _, d := range storetest.DurablePromises() {
		if d.Name == name {
			return d
		}
	}
	require.Fail(t, "no such promise", name)
	return storetest.Durable{}
}
