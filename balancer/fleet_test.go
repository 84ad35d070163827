package balancer_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

func TestFleetIsDrainedWhenAllSayso(t *testing.T) {
	s := mem.New()
	defer s.Close()
	f := &balancer.Fleet{Store: s}
	target := balancer.TargetID{Member: "m", Address: "10.0.0.1:80"}
	drained := []balancer.ClusterTarget{{Cluster: "c", Member: "m", Address: "10.0.0.1:80"}}
	say := func(name string, seq uint64, d []balancer.ClusterTarget) {
		require.NoError(t, f.Heard(t.Context(), balancer.Status{Name: name, Seq: seq, Drained: d}))
	}

	require.True(t, f.Drained("c", target), "there is nobody who could send something")
	say("a", 1, nil)
	require.False(t, f.Drained("c", target))
	say("a", 2, drained)
	require.True(t, f.Drained("c", target))
	require.False(t, f.Drained("d", target), "another cluster")
	say("b", 1, nil)
	require.False(t, f.Drained("c", target), "b has not said so")
	say("b", 2, drained)
	require.True(t, f.Drained("c", target))
	say("a", 3, nil)
	say("a", 2, drained) // late
	require.False(t, f.Drained("c", target))

	next := &balancer.Fleet{Store: s} // of a new leader
	require.NoError(t, next.Load(t.Context()))
	require.NoError(t, next.Heard(t.Context(), balancer.Status{Name: "a", Seq: 1, Drained: drained}))
	require.False(t, next.Drained("c", target), "b is known, and was not heard yet")
	require.NoError(t, next.Heard(t.Context(), balancer.Status{Name: "b", Seq: 1, Drained: drained}))
	require.True(t, next.Drained("c", target))
}

func TestFleetForgetsWhoIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		defer s.Close()
		guard := store.Cond{Key: "leaders/x"} // nobody leads: the key is absent
		f := &balancer.Fleet{Store: s, Forget: time.Minute}
		require.NoError(t, f.Heard(t.Context(), balancer.Status{Name: "a", Seq: 1}))
		time.Sleep(30 * time.Second)
		require.NoError(t, f.Heard(t.Context(), balancer.Status{Name: "b", Seq: 1}))
		time.Sleep(40 * time.Second)
		require.NoError(t, f.Tidy(t.Context(), guard))
		page, err := s.List(t.Context(), balancer.FleetPrefix, store.ReadOptions{})
		require.NoError(t, err)
		require.Len(t, page.KVs, 1)
		require.Equal(t, balancer.FleetPrefix+"b", page.KVs[0].Key)
	})
}

func TestFleetRefuses(t *testing.T) {
	s := mem.New()
	defer s.Close()
	f := &balancer.Fleet{Store: s}
	for _, c := range []struct {
		name   string
		status balancer.Status
	}{
		{"no name", balancer.Status{Seq: 1}},
		{"a long name", balancer.Status{Seq: 1, Name: strings.Repeat("x", balancer.MaxName+1)}},
		{"too much", balancer.Status{Seq: 1, Name: "a", Drained: make([]balancer.ClusterTarget, balancer.MaxDrained+1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.ErrorIs(t, f.Heard(t.Context(), c.status), balancer.ErrInvalid)
		})
	}
}

// A balancer that could not be recorded is recorded by its next status.
func TestFleetRecordsLater(t *testing.T) {
	s := mem.New()
	defer s.Close()
	f := &balancer.Fleet{Store: s}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, f.Heard(ended, balancer.Status{Name: "a", Seq: 1}))
	require.NoError(t, f.Heard(t.Context(), balancer.Status{Name: "a", Seq: 2}))
	_, _, err := s.Get(t.Context(), balancer.FleetPrefix+"a", store.ReadOptions{})
	require.NoError(t, err)
}

func TestDrainedOf(t *testing.T) {
	id := func(a string) balancer.TargetID { return balancer.TargetID{Member: "m", Address: a} }
	table := &balancer.Table{Clusters: map[topology.ClusterID]*balancer.Cluster{"c": {Targets: []balancer.Target{
		{TargetID: id("busy:1"), Draining: true}, {TargetID: id("idle:1"), Draining: true}, {TargetID: id("serving:1")},
	}}}}
	idle := idleTargets{"idle:1": true, "serving:1": true}
	require.Equal(t, []balancer.ClusterTarget{{Cluster: "c", Member: "m", Address: "idle:1"}}, balancer.DrainedOf(table, idle))
	require.Empty(t, balancer.DrainedOf(nil, idle))
}

type idleTargets map[string]bool

func (i idleTargets) Drained(_ topology.ClusterID, t balancer.TargetID) bool { return i[t.Address] }
