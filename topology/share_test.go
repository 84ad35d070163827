package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// TestMembersShareWhatIsTheSame: a view holds a release and the ports once a
// cluster, not once a member; and nobody gets what is another's.
func TestMembersShareWhatIsTheSame(t *testing.T) {
	old, current := topology.Release{Revision: "r1", Archive: "a1"}, topology.Release{Revision: "r2", Archive: "a2"}
	member := func(id topology.MemberID, r topology.Release, port int) topology.Member {
		return topology.Member{
			ID: id, Cluster: "t.a", State: topology.Active, Account: "one", Partition: "p", Assigned: &r,
			Serving: &topology.Runtime{Release: r, Ports: map[string]int{"http": port}},
		}
	}
	elsewhere := member("m2", current, 80)
	elsewhere.Account, elsewhere.Partition, elsewhere.State = "two", "q", topology.Suspended
	secure := member("m2", current, 80)
	secure.Serving.TLS = true
	for _, c := range []struct {
		name              string
		second            topology.Member
		assigned, serving bool // shared with the first
	}{
		{"alike", member("m2", current, 80), true, true},
		{"another port", member("m2", current, 81), true, false},
		{"another release", member("m2", old, 80), false, false},
		{"another protocol", secure, true, false},
		{"another place and state", elsewhere, true, true},
		{"nothing assigned", topology.Member{ID: "m2", Cluster: "t.a", State: topology.Created}, false, false},
		{"written again", member("m1", current, 81), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := (&topology.View{}).With(1, []store.Event{put(t, topology.ClusterKey("t.a"), 1, topology.Cluster{ID: "t.a", Current: &current})})
			require.NoError(t, err)
			for rev, m := range []topology.Member{member("m1", current, 80), c.second} {
				v, err = v.With(store.Revision(rev+2), []store.Event{put(t, topology.MemberKey("t.a", m.ID), store.Revision(rev+2), m)})
				require.NoError(t, err)
			}
			first, _ := v.Cluster("t.a").Member("m1")
			second, _ := v.Cluster("t.a").Member(c.second.ID)
			require.Equal(t, c.second, second.Member, "it is what was recorded")
			require.Same(t, v.Cluster("t.a").Cluster.Current, first.Assigned)
			require.Equal(t, c.assigned, first.Assigned == second.Assigned)
			require.Equal(t, c.serving, first.Serving == second.Serving)
		})
	}
}
