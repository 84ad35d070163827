package autoscale

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// TestWokenClustersCostNothingOfTheOthers: a queue that begins in a few
// clusters looks at these, however many there are.
func TestWokenClustersCostNothingOfTheOthers(t *testing.T) {
	var events []store.Event
	for n := range 1000 {
		events = append(events, store.Event{KV: store.KV{Key: topology.ClusterKey(topology.ClusterID(fmt.Sprintf("t.c%04d", n))), Value: []byte("{}"), Mod: 1}})
	}
	v, err := (&topology.View{}).With(1, events)
	require.NoError(t, err)
	ids := func(only map[topology.ClusterID]struct{}) (all []topology.ClusterID) {
		for c := range clustersOf(v, only) {
			all = append(all, c.Cluster.ID)
		}
		return all
	}
	require.Equal(t, []topology.ClusterID{"t.c0007", "t.c0900"}, ids(map[topology.ClusterID]struct{}{"t.c0900": {}, "t.c0007": {}, "t.gone": {}}))
	require.Empty(t, ids(map[topology.ClusterID]struct{}{}))
	require.Len(t, ids(nil), 1000)
}
