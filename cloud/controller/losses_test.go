package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology"
)

// TestLossesLeaveTheWindow: the limit is full, and has room again when the
// window has passed. In between, those who are held back and ask again and
// again do not make the guard look at all it has counted.
func TestLossesLeaveTheWindow(t *testing.T) {
	var l losses
	const members = 100
	limit := lossLimit(members)
	start := time.Unix(1_000_000, 0)
	for i := range limit {
		require.True(t, l.take(topology.MemberID(fmt.Sprint(i)), start, members), i)
	}
	scans, last := 0, l.pruned
	for i := range 1000 {
		now := start.Add(time.Duration(i) * time.Millisecond)
		require.False(t, l.take("late", now, members))
		if l.pruned != last {
			scans, last = scans+1, l.pruned
		}
	}
	require.Zero(t, scans, "looks at all that is counted, within one second")
	require.False(t, l.take("late", start.Add(lossWindow-time.Millisecond), members))
	require.True(t, l.take("late", start.Add(lossWindow+pruneEvery), members))
	require.Len(t, l.counted, 1)
}
