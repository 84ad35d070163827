package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology"
)

func TestRefusedTransitionsAreCounted(t *testing.T) {
	c := &Controller{}
	m := member(0, topology.Active)
	for range 2 {
		_, err := c.to(m, topology.Initialized, "", t0, time.Time{})
		require.Error(t, err)
	}
	_, err := c.to(m, topology.Suspended, "", t0, time.Time{})
	require.NoError(t, err)
	require.Equal(t, map[Transition]int64{{topology.Active, topology.Initialized}: 2}, c.Refusals())
}

func TestADecisionTellsWhatWasRefused(t *testing.T) {
	d := decider{situation: scene{cluster: cluster()}.at(t0)}
	m := topology.MemberRecord{Member: member(0, topology.Terminated)}
	require.Equal(t, m, d.move(m, topology.Active, "", time.Time{}))
	require.Len(t, d.plan.refused, 1)
}
