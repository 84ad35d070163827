package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology"
)

func TestClockIsSteady(t *testing.T) {
	wall, ticked := t0, time.Duration(0)
	c := clock{wall: func() time.Time { return wall }, elapsed: func(time.Time) time.Duration { return ticked }}
	require.Equal(t, t0, c.now())
	wall, ticked = t0.Add(time.Hour), time.Second
	require.Equal(t, t0.Add(time.Second), c.now(), "the wall clock was set forward")
	wall, ticked = t0.Add(-time.Hour), 2*time.Second
	require.Equal(t, t0.Add(2*time.Second), c.now(), "and back")
	ticked = 0
	require.Equal(t, wall, c.restart(), "a new reign believes the wall clock")
}

// TestWallClockThatJumpsEndsNobody sets the wall clock by an hour while
// members boot. The control is a clock that follows it.
func TestWallClockThatJumpsEndsNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		jump   time.Duration
		steady bool
		ends   bool
	}{
		{"forward", time.Hour, true, false},
		{"back", -time.Hour, true, false},
		{"control: not steady", time.Hour, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(1)
			defer s.close()
			s.faults = 0
			id := topology.ClusterID("t.c0")
			s.wants[id] = &simWant{}
			s.release(id)
			s.size(id, 4)
			s.lead()
			start, jumped := s.now, s.now.Add(2*time.Second)
			wall := func() time.Time {
				if s.now.Before(jumped) {
					return s.now
				}
				return s.now.Add(c.jump)
			}
			s.life.control.clock.wall = wall
			if !c.steady {
				s.life.control.clock.elapsed = func(time.Time) time.Duration { return wall().Sub(start) }
			}
			s.until(start.Add(4*time.Minute), func() bool { return false })
			require.Empty(t, s.broken)
			require.Equal(t, c.ends, len(s.cloud.all) > 4)
			if !c.ends {
				require.Empty(t, s.unsettled())
			}
		})
	}
}
