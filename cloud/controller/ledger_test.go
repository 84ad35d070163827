package controller

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

func TestLedgerCountsWhatIsNotTerminated(t *testing.T) {
	in := func(p string) func(*topology.Member) { return func(m *topology.Member) { m.Partition = p } }
	view := func(rev store.Revision, members ...topology.Member) *topology.ClusterView {
		var events []store.Event
		for _, m := range members {
			e := event(topology.MemberKey("t.a", m.ID), m)
			e.Mod = rev
			events = append(events, e)
		}
		v, err := (&topology.View{}).With(rev, events)
		require.NoError(t, err)
		return v.Cluster("t.a")
	}
	l := newLedger()
	saw := func(c *topology.ClusterView) { l.saw(c, c.Members()) }
	a, b := partition{"here", "a"}, partition{"here", "b"}
	places := []place{{a, 3}, {b, 1}}

	saw(view(5, member(0, topology.Active, in("a")), member(1, topology.Terminating, in("a")), member(2, topology.Terminated, in("a"))))
	require.Equal(t, 1, l.members(), "who is ending is no member")
	got, ok := l.book(places)
	require.True(t, ok)
	require.Equal(t, a, got, "who is terminating takes room, a tombstone does not")
	got, ok = l.book(places)
	require.True(t, ok)
	require.Equal(t, b, got, "what is booked takes room")
	_, ok = l.book(places)
	require.False(t, ok, "everything is full")
	l.giveBack(b)
	got, ok = l.book(places)
	require.True(t, ok)
	require.Equal(t, b, got)

	l.recorded("t.a", a, 7)
	require.Equal(t, 2, l.members())
	saw(view(6, member(0, topology.Active, in("a"))))
	require.Equal(t, 2, l.members(), "a view from before shows less")
	saw(view(7, member(0, topology.Active, in("a")), member(3, topology.Created, in("a"))))
	require.Equal(t, 2, l.members())
	l.lost("t.a")
	require.Zero(t, l.members())
	require.Equal(t, map[partition]int{a: 0, b: 1}, l.used)
}
