package topology_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology"
)

func states() []topology.State {
	return []topology.State{
		"", topology.Created, topology.Initialized, topology.Starting, topology.Active, topology.Suspended,
		topology.InMaintenance, topology.ReadyToShutDown, topology.Terminating, topology.Terminated,
	}
}

// TestEveryTransition tries each state after each other one: what is not in
// this table, which is the design's, is refused and changes nothing.
func TestEveryTransition(t *testing.T) {
	table := map[topology.State][]topology.State{
		"":                       {topology.Created},
		topology.Created:         {topology.Initialized, topology.Terminating},
		topology.Initialized:     {topology.Starting, topology.Terminating},
		topology.Starting:        {topology.Active, topology.Suspended, topology.Terminating},
		topology.Active:          {topology.Starting, topology.Suspended, topology.InMaintenance, topology.Terminating},
		topology.Suspended:       {topology.Active, topology.Starting, topology.InMaintenance, topology.Terminating},
		topology.InMaintenance:   {topology.Active, topology.ReadyToShutDown, topology.Terminating},
		topology.ReadyToShutDown: {topology.Terminating},
		topology.Terminating:     {topology.Terminated},
		topology.Terminated:      nil, // its record is deleted
	}
	now, deadline := time.Unix(10, 0), time.Unix(20, 0)
	for _, from := range states() {
		for _, to := range states() {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				m := topology.Member{ID: "m", State: from, Reason: "before", Since: time.Unix(1, 0)}
				got, err := m.To(to, "because", now, deadline)
				if slices.Contains(table[from], to) {
					require.NoError(t, err)
					require.Equal(t, topology.Member{ID: "m", State: to, Reason: "because", Since: now, Deadline: deadline}, got)
					return
				}
				var refused *topology.TransitionError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, topology.TransitionError{Member: "m", From: from, To: to}, *refused)
				require.Equal(t, m, got)
			})
		}
	}
}

func TestWhatAStateCountsAs(t *testing.T) {
	for _, c := range []struct {
		name                      topology.State
		supply, pending, draining bool
	}{
		{topology.Created, true, true, false},
		{topology.Initialized, true, true, false},
		{topology.Starting, true, true, false},
		{topology.Active, true, false, false},
		{topology.Suspended, true, false, false},
		{topology.InMaintenance, false, false, true},
		{topology.ReadyToShutDown, false, false, true},
		{topology.Terminating, false, false, true},
		{topology.Terminated, false, false, false},
	} {
		t.Run(string(c.name), func(t *testing.T) {
			require.Equal(t, c.supply, c.name.Supply())
			require.Equal(t, c.pending, c.name.Pending())
			require.Equal(t, c.draining, c.name.Draining())
		})
	}
}
