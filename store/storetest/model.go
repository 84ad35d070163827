package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
)

// How long the random checks are, and the seed: a failure is repeatable.
const (
	modelSteps = 400
	modelSeed  = 20
)

func modelPromises() []Promise {
	return []Promise{{"BehavesLikeAMap", func(t TB, s store.Store) { newModel(s).run(t, modelSteps) }}}
}

// model is the same store as a map: no history, no leases, no concurrency.
type model struct {
	s      store.Store
	random *rand.Rand
	kvs    map[string]store.KV
	rev    store.Revision
	states []state // former states, to be read again
}

// state is what was there at a revision, and what the store handed out then.
type state struct {
	rev       store.Revision
	kvs, seen []store.KV
}

func newModel(s store.Store) *model {
	return &model{s: s, random: rand.New(rand.NewPCG(modelSeed, 0)), kvs: make(map[string]store.KV)}
}

// run makes random transactions, and compares the store with the map after each.
func (m *model) run(t TB, steps int) {
	m.rev = list(t, m.s, "").Rev
	w := watch(t, m.s, "", m.rev)
	for range steps {
		x := m.transaction()
		holds := m.holds(x.If)
		rev, err := m.s.Commit(within(t), x)
		if !holds {
			require.Truef(t, isConflict(err), "%+v: %v", x, err)
			continue
		}
		require.NoError(t, err, "%+v", x)
		if changed := m.apply(x.Then, rev); len(changed) == 0 {
			require.Equal(t, m.rev, rev)
		} else {
			require.Greater(t, rev, m.rev)
			m.rev = rev
			require.Equal(t, changed, eventsByKey(next(t, w)))
		}
		m.compare(t)
	}
}

func (m *model) key() string { return fmt.Sprintf("k/%d", m.random.IntN(12)) }

func (m *model) transaction() store.Txn {
	var x store.Txn
	for range m.random.IntN(3) {
		c := store.Cond{Key: m.key(), Kind: store.CondKind(m.random.IntN(2))}
		if now := m.kvs[c.Key]; m.random.IntN(8) > 0 { // mostly what holds
			c.Rev, _ = c.Holds(now)
		}
		x.If = append(x.If, c)
	}
	for _, i := range m.random.Perm(12)[:m.random.IntN(5)] {
		op := put(fmt.Sprintf("k/%d", i), fmt.Sprint(m.random.Uint64()))
		if m.random.IntN(3) == 0 {
			op = del(op.Key)
		}
		x.Then = append(x.Then, op)
	}
	return x
}

func (m *model) holds(conds []store.Cond) bool {
	for _, c := range conds {
		kv := m.kvs[c.Key]
		if c.Kind == store.CondMod && kv.Mod != c.Rev || c.Kind == store.CondCreate && kv.Create != c.Rev {
			return false
		}
	}
	return true
}

// apply returns the events that a watcher should see, by key.
func (m *model) apply(ops []store.Op, rev store.Revision) map[string]store.Event {
	events := make(map[string]store.Event)
	for _, op := range ops {
		kv, exists := m.kvs[op.Key]
		switch {
		case op.Delete && !exists:
		case op.Delete:
			delete(m.kvs, op.Key)
			events[op.Key] = store.Event{KV: store.KV{Key: op.Key, Mod: rev}, Deleted: true}
		default:
			if !exists {
				kv = store.KV{Key: op.Key, Create: rev}
			}
			kv.Value, kv.Mod = op.Value, rev
			m.kvs[op.Key] = kv
			events[op.Key] = store.Event{KV: kv}
		}
	}
	return events
}

func eventsByKey(b store.Batch) map[string]store.Event {
	events := make(map[string]store.Event)
	for _, e := range b.Events {
		if e.Deleted { // only key and revision are promised
			e.KV = store.KV{Key: e.Key, Mod: e.Mod}
		}
		events[e.Key] = e
	}
	return events
}

// compare compares the present, and a state of the past.
func (m *model) compare(t TB) {
	page := list(t, m.s, "")
	require.Equal(t, m.rev, page.Rev)
	want := make([]store.KV, 0, len(m.kvs))
	for _, key := range slices.Sorted(maps.Keys(m.kvs)) {
		want = append(want, m.kvs[key])
	}
	require.Equal(t, want, whole(page.KVs))
	if m.random.IntN(10) == 0 {
		m.states = append(m.states, state{rev: m.rev, kvs: want, seen: page.KVs})
	}
	if len(m.states) > 0 {
		old := m.states[m.random.IntN(len(m.states))]
		require.Equal(t, old.kvs, whole(old.seen), "what was handed out at revision %d has changed", old.rev)
		again, err := m.s.List(within(t), "", store.ReadOptions{At: old.rev})
		require.NoError(t, err)
		require.Equal(t, old.rev, again.Rev)
		require.Equal(t, old.kvs, whole(again.KVs), "the state at revision %d", old.rev)
	}
}

// whole makes no difference between no records and none.
func whole(kvs []store.KV) []store.KV { return append([]store.KV{}, kvs...) }
