package topology_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// random prints its seed; STRATOS_TEST_SEED runs it again.
func random(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STRATOS_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// model is what a view should hold: plain maps of everything.
type model map[string]store.Event

func (m model) events() []store.Event {
	all := make([]store.Event, 0, len(m))
	for _, e := range m {
		all = append(all, e)
	}
	return all
}

// randomTxn makes a transaction of up to four changes and notes them in the model.
func randomTxn(t *testing.T, r *rand.Rand, rev store.Revision, m model) []store.Event {
	byKey := map[string]store.Event{}
	for range 1 + r.IntN(4) {
		c := topology.ClusterID(fmt.Sprintf("c%d", r.IntN(300)))
		id := topology.MemberID(fmt.Sprintf("m%d", r.IntN(3)))
		key, value := topology.MemberKey(c, id), any(topology.Member{ID: id, Cluster: c, Restarts: int(rev)})
		switch r.IntN(4) {
		case 0:
			key, value = topology.ClusterKey(c), topology.Cluster{ID: c, Min: int(rev)}
		case 1:
			key, value = topology.WantKey(c), topology.Want{Cluster: c, Size: int(rev)}
		}
		e := put(t, key, rev, value)
		if r.IntN(3) == 0 {
			e = gone(key, rev)
		}
		byKey[key] = e
	}
	var events []store.Event
	for key, e := range byKey {
		events = append(events, e)
		if m[key] = e; e.Deleted {
			delete(m, key)
		}
	}
	return events
}

// slowlyChanged compares every cluster of both views.
func slowlyChanged(now, since *topology.View) []topology.ClusterID {
	var ids []topology.ClusterID
	for c := range now.Clusters() {
		if since.Cluster(c.Cluster.ID) != c {
			ids = append(ids, c.Cluster.ID)
		}
	}
	for c := range since.Clusters() {
		if now.Cluster(c.Cluster.ID) == nil {
			ids = append(ids, c.Cluster.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestChangedAndDigestOverRandomTransactions(t *testing.T) {
	r := random(t)
	history := []*topology.View{{}}
	records := model{}
	for rev := store.Revision(1); rev <= 1500; rev++ {
		last := history[len(history)-1]
		v, err := last.With(rev, randomTxn(t, r, rev, records))
		require.NoError(t, err)
		history = append(history, v)

		since := history[r.IntN(len(history))]
		require.Equal(t, slowlyChanged(v, since), slices.Collect(v.Changed(since)))
		if rev%50 != 0 {
			continue
		}
		whole, err := (&topology.View{}).With(rev, records.events())
		require.NoError(t, err)
		require.Equal(t, whole.Digest(), v.Digest(), "the incremental digest is that of the whole")
		require.Equal(t, len(records), v.Digest().N())
		require.Equal(t, whole.Len(), v.Len())
		var ids, wholeIDs []topology.ClusterID
		for c := range v.Clusters() {
			ids = append(ids, c.Cluster.ID)
		}
		for c := range whole.Clusters() {
			wholeIDs = append(wholeIDs, c.Cluster.ID)
		}
		require.True(t, slices.IsSorted(ids))
		require.Equal(t, wholeIDs, ids)

		again, err := v.Whole(rev+1, records.events())
		require.NoError(t, err)
		require.Empty(t, slices.Collect(again.Changed(v)), "what was read again and is the same is shared")
		older := history[r.IntN(len(history))]
		whole, err = older.Whole(rev+1, records.events())
		require.NoError(t, err)
		require.Equal(t, v.Digest(), whole.Digest())
		for _, id := range ids {
			require.Equal(t, v.Cluster(id).Members(), whole.Cluster(id).Members())
			require.Equal(t, v.Cluster(id).Cluster, whole.Cluster(id).Cluster)
		}
	}
	require.Equal(t, history[len(history)-1].Len(), len(slices.Collect(history[len(history)-1].Changed(nil))))
}

func TestDigestTellsSetsApart(t *testing.T) {
	with := func(events ...store.Event) topology.Digest {
		v, err := (&topology.View{}).With(9, events)
		require.NoError(t, err)
		return v.Digest()
	}
	a := put(t, "clusters/a", 1, topology.Cluster{ID: "a"})
	a2 := put(t, "clusters/a", 2, topology.Cluster{ID: "a"})
	b := put(t, "clusters/b", 1, topology.Cluster{ID: "b"})
	require.Equal(t, topology.Digest{}, with())
	require.NotEqual(t, with(a), with(a2))
	require.NotEqual(t, with(a), with(b))
	require.Equal(t, with(a, b), with(b, a))
	require.Equal(t, with(a, b), with(a).Plus(with(b)))
	require.Equal(t, with(a), with(a, b).Minus(with(b)))
	require.Len(t, with(a).String(), 64)
	require.Equal(t, topology.Digest{}, with(a, gone("clusters/a", 2)))
}

// platform is a view of clusters with ten members each.
func platform(b *testing.B, clusters int) *topology.View {
	var events []store.Event
	for i := range clusters {
		c := topology.ClusterID(fmt.Sprintf("tenant%d.app%d", i%100, i))
		events = append(events, put(b, topology.ClusterKey(c), 1, topology.Cluster{ID: c, Service: "php"}))
		for j := range 10 {
			id := topology.MemberID(fmt.Sprintf("m%d", j))
			events = append(events, put(b, topology.MemberKey(c, id), 1, topology.Member{ID: id, Cluster: c, State: topology.Active}))
		}
	}
	v, err := (&topology.View{}).With(1, events)
	require.NoError(b, err)
	return v
}

func BenchmarkView(b *testing.B) {
	for _, clusters := range []int{1_000, 10_000} {
		v := platform(b, clusters)
		c := topology.ClusterID("tenant7.app7")
		e := []store.Event{put(b, topology.MemberKey(c, "m1"), 2, topology.Member{ID: "m1", Cluster: c, State: topology.Suspended})}
		w, err := v.With(2, e)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("With/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = v.With(2, e)
			}
		})
		b.Run(fmt.Sprintf("Changed/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range w.Changed(v) {
				}
			}
		})
		b.Run(fmt.Sprintf("Clusters/%d", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range w.Clusters() {
				}
			}
		})
	}
}
