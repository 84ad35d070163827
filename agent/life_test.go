package agent_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent"
	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/topology"
)

func TestKilledProcessIsStartedAgain(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	plan := appPlan(t)
	plan.Processes = append(plan.Processes, cartridge.Process{
		Name: "worker", Args: plan.Processes[0].Args, Env: appMode("worker"),
	})
	ref := c.assign("r1", appFiles("one", ""), plan)
	a := start(t, c, t.TempDir())
	at := c.awaitServing(ref)
	require.Eventually(t, func() bool { return len(marked(t, a.dir)) == 2 }, patience, 10*time.Millisecond)
	before := marked(t, a.dir)
	for n := 1; n <= 3; n++ {
		pid, err := strconv.Atoi(mustGet(t, at+"/pid"))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		s := c.await("restarted", func(s wire.Status) bool { return s.Restarts == n && s.Phase == wire.PhaseReady })
		require.Equal(t, at, address(*s.Serving), "in place: on the same port")
		require.Equal(t, "one", mustGet(t, at))
	}
	for _, pid := range before {
		require.NotContains(t, marked(t, a.dir), pid, "the worker was not ended with its runtime")
	}
	c.awaitLog("agent", `process "web" ended: signal: killed: starting again`)
	c.awaitLog("agent", `process "web" ended: signal: killed: it keeps ending, 3 times without 1m0s in between: starting again in `)
}

func TestSickAppIsReportedAndStartedAgain(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	plan := appPlan(t)
	plan.Health = cartridge.Health{Path: "/health", Every: 10 * time.Millisecond, Start: 5 * time.Second}
	ref := c.assign("r1", appFiles("one", ""), plan)
	start(t, c, t.TempDir())
	at := c.awaitServing(ref)
	mustGet(t, at+"/health?sick=1")
	s := c.await("sick", func(s wire.Status) bool { return s.Phase == wire.PhaseStarting })
	require.Contains(t, s.Reason, "503")
	require.Equal(t, ref, s.Serving.Release)
	mustGet(t, at+"/health?sick=0")
	s = c.await("well", func(s wire.Status) bool { return s.Phase == wire.PhaseReady })
	require.Zero(t, s.Restarts)
	mustGet(t, at+"/health?sick=1")
	c.await("restarted", func(s wire.Status) bool { return s.Phase == wire.PhaseReady && s.Restarts == 1 })
}

func TestEscapedProcessIsEnded(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", "escape"), appPlan(t))
	a := start(t, c, t.TempDir())
	c.awaitServing(ref)
	require.Eventually(t, func() bool { return len(marked(t, a.dir)) == 2 }, patience, 10*time.Millisecond)
	require.NoError(t, a.stop())
	require.Empty(t, marked(t, a.dir))
}

func TestControlPlaneAway(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	at := c.awaitServing(ref)
	c.setAway(true)
	pid, err := strconv.Atoi(mustGet(t, at+"/pid"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool { s, err := get(at); return err == nil && s == "one" }, patience, 5*time.Millisecond)

	two := c.assign("r2", appFiles("two", ""), appPlan(t))
	c.setAway(false)
	c.awaitServing(two)
	require.Equal(t, 1, c.lastStatus().Restarts)
	c.awaitLog("agent", "starting again") // said while it was away
}

func TestTerminated(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*controlPlane)
	}{
		{"by the record", func(c *controlPlane) { c.update(func(m *topology.Member) { m.State = topology.Terminating }) }},
		{"by an answer", func(c *controlPlane) { c.mu.Lock(); c.gone = true; c.mu.Unlock() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			ref := c.assign("r1", appFiles("one", ""), appPlan(t))
			a := &agent.Agent{Dir: t.TempDir(), UserData: c.userData()}
			done := make(chan error, 1)
			go func() { done <- a.Run(t.Context()) }()
			at := c.awaitServing(ref)
			tt.end(c)
			require.NoError(t, <-done)
			_, err := get(at)
			require.Error(t, err)
			require.Empty(t, marked(t, a.Dir))
		})
	}
}

func TestRuntimeDiesWithItsAgent(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", "escape"), appPlan(t))
	dir := t.TempDir()
	user, err := json.Marshal(c.userData())
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), agentEnv+"="+string(user), dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	at := c.awaitServing(ref)
	app, err := strconv.Atoi(mustGet(t, at+"/pid"))
	require.NoError(t, err)

	c.awaitLog("web", "app says hello")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool { return !slices.Contains(marked(t, dir), app) }, patience, time.Millisecond, "the app outlives its agent")

	// What escaped is found by the next agent.
	left := marked(t, dir)
	require.Len(t, left, 1)
	c.mu.Lock()
	c.statuses, c.logs = nil, nil
	c.mu.Unlock()
	start(t, c, dir)
	c.awaitServing(ref)
	require.NotContains(t, marked(t, dir), left[0])
	c.awaitLog("web", "app says hello") // under numbers above the killed agent's
}
