package agent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent"
	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

// appPlan runs the test binary as the app.
func appPlan(t *testing.T) cartridge.Plan {
	self, err := os.Executable()
	require.NoError(t, err)
	return cartridge.Plan{
		V:         cartridge.PlanVersion,
		Cartridge: "test",
		Ports:     []cartridge.Port{{Name: "http"}},
		DataDirs:  []string{"uploads"},
		Files:     []cartridge.File{{Path: "conf/app.conf", Content: `listen {{port "http"}} in {{.Dir}}`, Mode: 0o640}},
		Processes: []cartridge.Process{{Name: "web", Args: []string{self}, Env: appMode("web")}},
		Stop:      cartridge.Stop{Grace: 5 * time.Second},
	}
}

// appMode is the environment of an app. Without GORACE, it would sleep for a
// second before it ends, when the race detector is on.
func appMode(mode string) map[string]string {
	return map[string]string{appEnv: mode, "GORACE": "atexit_sleep_ms=0"}
}

func appFiles(version, does string) map[string]string {
	return map[string]string{"version": version, "does": does}
}

// started is an agent that runs.
type started struct {
	dir  string
	stop func() error // and wait
}

func start(t *testing.T, c *controlPlane, dir string) *started {
	return startWith(t, c, dir, "", nil)
}

// startWith starts an agent whose volumes are below root.
func startWith(t *testing.T, c *controlPlane, dir, root string, log *slog.Logger) *started {
	a := &agent.Agent{Dir: dir, Volumes: root, Log: log, UserData: c.userData(), Env: map[string]string{"INSTANCE": "m1"}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		require.NoError(t, stop())
		require.Empty(t, marked(t, dir), "processes are left behind")
	})
	return &started{dir: dir, stop: stop}
}

// marked lists the processes that belong to runtimes of an agent.
func marked(t *testing.T, dir string) (pids []int) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, name := range all {
		env, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(env), "STRATOS_RUNTIME="+dir+"/") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func get(url string) (string, error) {
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), err
}

func mustGet(t *testing.T, url string) string {
	t.Helper()
	s, err := get(url)
	require.NoError(t, err)
	return s
}

func TestJoinsAndServes(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	a := start(t, c, t.TempDir())
	at := c.awaitServing(ref)

	require.Equal(t, "one", mustGet(t, at))
	c.awaitLog("web", "app says hello from one")
	c.awaitLog("agent", "release r1 starts")
	require.Eventually(t, func() bool { return c.lastStatus().Memory > 1<<20 }, patience, 10*time.Millisecond)

	env := strings.Split(mustGet(t, at+"/env"), "\n")
	home := filepath.Join(a.dir, "runtimes", "1")
	require.Contains(t, env, "PORT="+at[strings.LastIndex(at, ":")+1:])
	require.Contains(t, env, "HOME="+home)
	require.Contains(t, env, "TMPDIR="+home+"/tmp")
	require.Contains(t, env, "INSTANCE=m1")
	require.Len(t, env, 9, "the environment is not clean: %v", env)

	conf, err := os.ReadFile(filepath.Join(home, "conf", "app.conf"))
	require.NoError(t, err)
	require.Contains(t, string(conf), "in "+home)
	requireMode(t, filepath.Join(home, "conf", "app.conf"), 0o640)
	requireMode(t, filepath.Join(a.dir, "key"), 0o600)
	require.DirExists(t, filepath.Join(a.dir, "data", "uploads"))
	requireMode(t, filepath.Join(a.dir, "releases", "r1-"+strings.TrimPrefix(ref.PlanID, "sha256-")[:12]+".1", "version"), 0o444)

	require.NoError(t, a.stop())
	s := c.lastStatus()
	require.Equal(t, wire.PhaseStarting, s.Phase, "the last status says that it stops")
	c.awaitLog("web", "app says goodbye")
	left, err := filepath.Glob(filepath.Join(a.dir, "r*", "*"))
	require.NoError(t, err)
	require.Empty(t, left, "runtimes or releases are left")
	log, err := os.ReadFile(filepath.Join(a.dir, "log"))
	require.NoError(t, err)
	require.Contains(t, string(log), " web app says goodbye\n")
}

func requireMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, mode, info.Mode().Perm(), path)
}

func TestRestartedAgentKeepsItsKeyAndItsPlaceInTheLog(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	dir := t.TempDir()
	a := start(t, c, dir)
	c.awaitServing(ref)
	require.NoError(t, a.stop())
	c.mu.Lock()
	before := c.logNext
	c.statuses = nil
	c.mu.Unlock()
	start(t, c, dir)
	c.awaitServing(ref)
	require.Equal(t, 2, c.joins) // another key would have been refused
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.logNext > before
	}, patience, 10*time.Millisecond, "lines after the restart have numbers that were used")
}

func TestJoinRefused(t *testing.T) {
	t.Parallel()
	another := newKey(t)
	tests := []struct {
		name  string
		spoil func(*controlPlane, *wire.UserData)
		want  string
	}{
		{"another key has joined", func(c *controlPlane, _ *wire.UserData) { c.key = another }, "joined with another key"},
		{"wrong token", func(_ *controlPlane, u *wire.UserData) { u.Token = "guessed" }, "no such token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			u := c.userData()
			tt.spoil(c, &u)
			err := (&agent.Agent{Dir: t.TempDir(), UserData: u}).Run(t.Context())
			require.ErrorContains(t, err, "member m1 may not join")
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), u.Token)
		})
	}
}

func TestAgentNeedsItsSettings(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, (&agent.Agent{}).Run(t.Context()), "set Dir")
	require.ErrorContains(t, (&agent.Agent{Dir: t.TempDir()}).Run(t.Context()), "user-data")
}

func TestSecondAgentInAFolderIsRefused(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	a := start(t, c, t.TempDir())
	at := c.awaitServing(ref)
	err := (&agent.Agent{Dir: a.dir, UserData: c.userData()}).Run(t.Context())
	require.ErrorContains(t, err, "another agent works in")
	require.Equal(t, "one", mustGet(t, at))
}

func TestJoinWaitsForTheControlPlane(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	c.setAway(true)
	a := &agent.Agent{Dir: t.TempDir(), UserData: c.userData()}
	a.UserData.Control = []string{"http://127.0.0.1:1", c.srv.URL}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	require.Eventually(t, func() bool { _, err := os.Stat(a.Dir + "/key"); return err == nil }, patience, time.Millisecond)
	c.setAway(false)
	c.awaitServing(ref)
	cancel()
	require.NoError(t, <-done)
}

func TestDamagedArchiveIsFetchedAgain(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	c.damaged = 2
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	at := c.awaitServing(ref)
	require.Equal(t, "one", mustGet(t, at))
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Zero(t, c.damaged)
	require.True(t, slices.ContainsFunc(c.statuses, func(s wire.Status) bool {
		return strings.Contains(s.Reason, "damaged on its way")
	}), "nothing said why it took so long")
}

func TestLinesThatAreNotTakenDoNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	c.poison = "hello from one"
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	c.awaitServing(ref)
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.refusals > 0 }, patience, time.Millisecond)
	two := c.assign("r2", appFiles("two", ""), appPlan(t))
	c.awaitServing(two)
	c.awaitLog("web", "app says hello from two")
}

// It is not parallel: nothing else of the package runs meanwhile.
func TestRunLeavesNoGoroutine(t *testing.T) {
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	a := start(t, c, t.TempDir())
	c.awaitServing(ref)
	require.NoError(t, a.stop())
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	require.NotContains(t, string(stacks), "gostratos/stratos/agent.")
	require.NotContains(t, string(stacks), "gostratos/stratos/topology/stream.(*Client)")
}
