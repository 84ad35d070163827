package stream_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// view is made of records at revision 1.
func view(t testing.TB, records map[string]any) *topology.View {
	t.Helper()
	var events []store.Event
	for key, r := range records {
		b, err := json.Marshal(r)
		require.NoError(t, err)
		events = append(events, store.Event{KV: store.KV{Key: key, Value: b, Mod: 1}})
	}
	v, err := (&topology.View{}).With(1, events)
	require.NoError(t, err)
	return v
}

// members are a cluster of n members, all in a state, with what else is to be in it.
func members(n int, state topology.State, more map[string]any) map[string]any {
	all := map[string]any{topology.ClusterKey("c"): topology.Cluster{ID: "c"}}
	for i := range n {
		id := topology.MemberID(fmt.Sprintf("m%d", i))
		all[topology.MemberKey("c", id)] = topology.Member{ID: id, Cluster: "c", State: state}
	}
	for k, v := range more {
		all[k] = v
	}
	return all
}

func TestASnapshotWithoutMostMembersIsDoubted(t *testing.T) {
	want := func(n int) map[string]any {
		return map[string]any{topology.WantKey("c"): topology.Want{Cluster: "c", Size: n}}
	}
	removed := map[string]any{topology.ClusterKey("c"): topology.Cluster{ID: "c", Removed: true}}
	for _, c := range []struct {
		name          string
		before, after map[string]any
		refused       bool
	}{
		{"all gone", members(10, topology.Active, nil), nil, true},
		{"six of ten gone", members(10, topology.Active, nil), members(4, topology.Active, nil), true},
		{"half gone", members(10, topology.Active, nil), members(5, topology.Active, nil), false},
		{"few members", members(9, topology.Active, nil), nil, false},
		{"they were not active", members(12, topology.Starting, nil), nil, false},
		{"they are on record as ended", members(12, topology.Active, nil), members(12, topology.Terminated, nil), false},
		{"they are on record as ending", members(12, topology.Active, nil), members(12, topology.Terminating, nil), false},
		{"the cluster is removed", members(12, topology.Active, nil), members(0, topology.Active, removed), false},
		{"the cluster was removed before", members(12, topology.Active, removed), nil, false},
		{"no more are wanted", members(12, topology.Active, want(12)), members(2, topology.Active, want(2)), false},
		{"more are wanted", members(12, topology.Active, want(12)), members(2, topology.Active, want(12)), true},
		{"none is wanted", members(12, topology.Active, want(12)), members(0, topology.Active, want(0)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d stream.Doubt
			before, after, now := view(t, c.before), view(t, c.after), time.Unix(1000, 0)
			if !c.refused {
				require.NoError(t, d.Refuses(before, after, now))
				return
			}
			require.ErrorContains(t, d.Refuses(before, after, now), "active members")
			require.Error(t, d.Refuses(before, after, now.Add(59*time.Second)))
			require.NoError(t, d.Refuses(before, after, now.Add(60*time.Second)), "it stays like that: it is true")

			require.Error(t, d.Refuses(before, after, now.Add(61*time.Second)))
			require.NoError(t, d.Refuses(before, before, now.Add(62*time.Second)))
			require.Error(t, d.Refuses(before, after, now.Add(150*time.Second)), "a good one in between: the time begins again")
		})
	}
}
