package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/topology"
)

func TestSwitchLeavesNoGap(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	one := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	oldAt := c.awaitServing(one)
	c.heed()

	// A balancer that goes by the statuses.
	var mu sync.Mutex
	var failed []error
	seen := map[string]int{}
	asking, enough := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for asking.Err() == nil {
				s, err := get(address(*c.lastStatus().Serving))
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
				}
				seen[s]++
				mu.Unlock()
			}
		})
	}
	two := c.assign("r2", appFiles("two", ""), appPlan(t))
	newAt := c.awaitServing(two)
	require.NotEqual(t, oldAt, newAt)
	require.Equal(t, one, c.lastStatus().Retiring[0].Release)
	require.Equal(t, "one", mustGet(t, oldAt), "stopped before the record said so")

	// A record that does not know of the switch yet is no word to stop.
	c.update(func(m *topology.Member) { m.Reason = "something else" })
	stays := func() bool { _, err := get(oldAt); return err != nil }
	require.Never(t, stays, 200*time.Millisecond, 20*time.Millisecond, "stopped by a record that is older than the switch")
	c.heed() // now it lists the old one
	require.Never(t, stays, 200*time.Millisecond, 20*time.Millisecond, "stopped although it is listed")

	slow := make(chan error, 1)
	go func() { _, err := get(oldAt + "/slow"); slow <- err }()
	oldHome := filepath.Join(filepath.Dir(filepath.Dir(c.homeOf(oldAt))), "runtimes", "1")
	require.Eventually(t, func() bool { _, err := os.Stat(oldHome + "/slow"); return err == nil }, patience, time.Millisecond)
	c.update(func(m *topology.Member) { m.Retiring = nil })
	require.NoError(t, <-slow, "the old runtime was not stopped gracefully")
	c.await("nothing retires", func(s wire.Status) bool { return len(s.Retiring) == 0 })
	require.Eventually(t, func() bool { _, err := get(oldAt); return err != nil }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return seen["two"] > 10 }, patience, time.Millisecond)
	enough()
	clients.Wait()
	require.Empty(t, failed)
	require.Positive(t, seen["one"])
}

// homeOf asks an app for its folder.
func (c *controlPlane) homeOf(at string) string {
	for line := range strings.SplitSeq(mustGet(c.t, at+"/env"), "\n") {
		if home, ok := strings.CutPrefix(line, "HOME="); ok {
			return home
		}
	}
	c.t.Fatal("the app has no HOME")
	return ""
}

func TestSwitchStopsTheOldOneWhenTheRecordNeverListedIt(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	one := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	oldAt := c.awaitServing(one)
	two := c.assign("r2", appFiles("two", ""), appPlan(t))
	c.awaitServing(two)
	serving := record(*c.lastStatus().Serving)
	c.update(func(m *topology.Member) {
		m.Serving = &serving
	})
	require.Eventually(t, func() bool { _, err := get(oldAt); return err != nil }, patience, 5*time.Millisecond)
}
