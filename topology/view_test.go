package topology_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

func put(t testing.TB, key string, rev store.Revision, v any) store.Event {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return store.Event{KV: store.KV{Key: key, Value: b, Mod: rev}}
}

func gone(key string, rev store.Revision) store.Event {
	return store.Event{KV: store.KV{Key: key, Mod: rev}, Deleted: true}
}

func TestViewFoldsWholeTransactions(t *testing.T) {
	empty := &topology.View{}
	one, err := empty.With(1, []store.Event{
		put(t, topology.ClusterKey("t.a"), 1, topology.Cluster{ID: "t.a", Min: 1}),
		put(t, topology.MemberKey("t.a", "m2"), 1, topology.Member{ID: "m2", Cluster: "t.a", State: topology.Active, Created: time.Unix(2, 0)}),
		put(t, topology.MemberKey("t.a", "m1"), 1, topology.Member{ID: "m1", Cluster: "t.a", State: topology.Created, Created: time.Unix(1, 0)}),
		put(t, "subscriptions/t/a", 1, map[string]int{"x": 1}),
	})
	require.NoError(t, err)
	require.Zero(t, empty.Len())
	a := one.Cluster("t.a")
	require.True(t, a.Known)
	require.Equal(t, 2, a.Supply())
	require.Equal(t, []topology.MemberID{"m1", "m2"}, []topology.MemberID{a.Members()[0].ID, a.Members()[1].ID})

	two, err := one.With(2, []store.Event{
		put(t, topology.WantKey("t.b"), 2, topology.Want{Cluster: "t.b", Size: 3}),
		gone(topology.MemberKey("t.a", "m1"), 2),
	})
	require.NoError(t, err)
	require.Equal(t, 2, one.Cluster("t.a").Supply(), "a view is immutable")
	require.Equal(t, 1, two.Cluster("t.a").Count(topology.Active))
	require.Equal(t, 0, two.Cluster("t.a").Count(topology.Created))
	require.Equal(t, 3, two.Cluster("t.b").Want.Size)
	require.Equal(t, store.Revision(2), two.Cluster("t.b").WantMod())
	require.False(t, two.Cluster("t.b").Known)

	three, err := two.With(3, []store.Event{
		gone(topology.WantKey("t.b"), 3), gone(topology.ClusterKey("t.a"), 3), gone(topology.MemberKey("t.a", "m2"), 3),
	})
	require.NoError(t, err)
	require.Zero(t, three.Len())
}

func TestViewSharesWhatDidNotChange(t *testing.T) {
	v, err := (&topology.View{}).With(1, []store.Event{
		put(t, topology.ClusterKey("a"), 1, topology.Cluster{ID: "a"}),
		put(t, topology.ClusterKey("b"), 1, topology.Cluster{ID: "b"}),
	})
	require.NoError(t, err)
	w, err := v.With(2, []store.Event{put(t, topology.ClusterKey("b"), 2, topology.Cluster{ID: "b", Min: 1})})
	require.NoError(t, err)
	require.Same(t, v.Cluster("a"), w.Cluster("a"))
	require.NotSame(t, v.Cluster("b"), w.Cluster("b"))
}

func TestViewNamesTheRecordThatCannotBeRead(t *testing.T) {
	v := &topology.View{}
	for _, key := range []string{"clusters/a", "wants/a", "members/a/m"} {
		got, err := v.With(1, []store.Event{{KV: store.KV{Key: key, Value: []byte("{"), Mod: 1}}})
		require.ErrorContains(t, err, key)
		require.Same(t, v, got)
	}
}

func TestMirrorFollowsTheStore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := mem.New()
	defer s.Close()
	commit := func(i int) store.Revision {
		rec := store.NewRecord(topology.ClusterKey(topology.ClusterID(fmt.Sprintf("c%03d", i))), topology.Cluster{Min: i})
		op, err := rec.Put()
		require.NoError(t, err)
		rev, err := s.Commit(ctx, store.Txn{Then: []store.Op{op}})
		require.NoError(t, err)
		return rev
	}
	commit(0)
	m := &topology.Mirror{Store: s}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(running) }()
	for i := 1; i < 100; i++ {
		rev := commit(i)
		v, err := m.Next(ctx, rev-1)
		require.NoError(t, err)
		require.GreaterOrEqual(t, v.Rev, rev)
		require.Equal(t, i+1, v.Len())
	}
	stop()
	require.NoError(t, <-done)
}

func TestLatestNeverGoesBack(t *testing.T) {
	var l topology.Latest
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Next(ctx, 0)
	require.ErrorIs(t, err, context.Canceled)
	for _, rev := range []store.Revision{5, 3, 5, 7} {
		l.Set(&topology.View{Rev: rev})
	}
	v, err := l.Next(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, store.Revision(7), v.Rev)
	l.Set(&topology.View{Rev: 6})
	v, err = l.Next(t.Context(), 5)
	require.NoError(t, err)
	require.Equal(t, store.Revision(7), v.Rev)
}

func TestRuntimeAddressIsItsHTTPPortOrItsOnlyOne(t *testing.T) {
	for _, c := range []struct {
		name  string
		ports map[string]int
		want  string
	}{
		{"http", map[string]int{"http": 80, "admin": 81}, "10.0.0.1:80"},
		{"only one", map[string]int{"mysql": 3306}, "10.0.0.1:3306"},
		{"several, none http: the first name", map[string]int{"b": 2, "a": 1}, "10.0.0.1:1"},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, topology.Runtime{Ports: c.ports}.Address("10.0.0.1"))
		})
	}
}

func ExampleView() {
	v, err := (&topology.View{}).With(1, []store.Event{
		{KV: store.KV{Key: topology.ClusterKey("default.shop"), Mod: 1, Value: []byte(`{"id":"default.shop","min":1,"max":3}`)}},
		{KV: store.KV{Key: topology.MemberKey("default.shop", "m1"), Mod: 1, Value: []byte(`{"id":"m1","state":"Active"}`)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	clusters := slices.Collect(v.Clusters())
	fmt.Println(clusters[0].Cluster.ID, clusters[0].Supply())
	// Output: default.shop 1
}
