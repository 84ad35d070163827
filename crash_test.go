package stratos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/topology"
)

// controlEnv makes the test binary a control plane of its own, to be killed.
const controlEnv = "STRATOS_TEST_CONTROL"

// controlArgs is what such a control plane is told.
type controlArgs struct {
	Dir, Listen, API string
	// DieAt is the step at whose DieOn-th time the process kills itself; empty: never.
	DieAt controller.Step
	DieOn int64
}

func controlMain() int {
	var args controlArgs
	if err := json.Unmarshal([]byte(os.Getenv(controlEnv)), &args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := testConfigAt(args.Dir, args.Listen, args.API)
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var times atomic.Int64
	cfg.Trace = func(s controller.Step, _ topology.MemberID) {
		if s == args.DieAt && times.Add(1) == args.DieOn {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			select {} // no step further
		}
	}
	if err := runControl(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// control is a control plane in a process of its own.
type control struct {
	t    *testing.T
	args controlArgs
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan error
}

func startControl(t *testing.T, args controlArgs, log *syncBuffer) *control {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	env, err := json.Marshal(args)
	require.NoError(t, err)
	c := &control{t: t, args: args, log: log, done: make(chan error, 1)}
	c.cmd = exec.Command(self)
	c.cmd.Env = append(os.Environ(), controlEnv+"="+string(env))
	c.cmd.Stderr = log
	require.NoError(t, c.cmd.Start())
	go func() { c.done <- c.cmd.Wait() }()
	return c
}

func (c *control) kill(s syscall.Signal) {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(s))
	<-c.done
}

func (c *control) call(method, path, body string, into any) error {
	token, err := os.ReadFile(filepath.Join(c.args.Dir, "admin.token"))
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+c.args.API+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

const subscriptionPath = "/v1/tenants/default/subscriptions/app"

func (c *control) members() (map[topology.State][]topology.Member, error) {
	var state struct{ Members []topology.Member }
	if err := c.call(http.MethodGet, subscriptionPath, "", &state); err != nil {
		return nil, err
	}
	all := map[topology.State][]topology.Member{}
	for _, m := range state.Members {
		all[m.State] = append(all[m.State], m)
	}
	return all, nil
}

func (c *control) scale(n int) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		err := c.call(http.MethodPost, subscriptionPath+"/scale", fmt.Sprintf(`{"min":%d,"max":%d}`, n, n), nil)
		return err == nil
	}, patience, 10*time.Millisecond)
}

// settle waits until n members are Active and nobody is on the way.
func (c *control) settle(n int) map[topology.State][]topology.Member {
	c.t.Helper()
	var members map[topology.State][]topology.Member
	require.Eventually(c.t, func() bool {
		var err error
		members, err = c.members()
		return err == nil && len(members[topology.Active]) == n && n+len(members[topology.Terminated]) == count(members)
	}, patience, 20*time.Millisecond)
	return members
}

func count(members map[topology.State][]topology.Member) (n int) {
	for _, ms := range members {
		n += len(ms)
	}
	return n
}

// exactlyOneEach checks the processes and folders of the machine against the
// records: every instance belongs to exactly one member, none is left over,
// none was started twice.
func (c *control) exactlyOneEach(active []topology.Member) {
	c.t.Helper()
	want := map[string]int{}
	for _, m := range active {
		want[string(m.Instance)] = 1
	}
	// The control plane that took over may have started an agent where the killed
	// one just had: it finds the folder locked, and ends.
	var agents map[string]int
	require.Eventually(c.t, func() bool {
		agents = map[string]int{}
		for pid, folder := range processesOf(c.t, c.args.Dir) {
			if sessionLeader(pid) {
				agents[filepath.Base(folder)]++
			}
		}
		return maps.Equal(want, agents)
	}, patience, 10*time.Millisecond, "agents by instance: want %v, there are %v", want, &agents)
	folders, err := os.ReadDir(filepath.Join(c.args.Dir, "accounts", "here", "instances"))
	require.NoError(c.t, err)
	names := map[string]int{}
	for _, f := range folders {
		names[f.Name()] = 1
	}
	require.Equal(c.t, want, names, "instances on disk")
}

// TestKilledControlPlane kills the control plane at each step of a launch, and
// at random moments of a scale-up and of a scale-down: STRATOS_TEST_KILLS times
// in all, at least once at each step. Its last line is read by internal/reliability.
func TestKilledControlPlane(t *testing.T) {
	args := controlArgs{Dir: filepath.Join(t.TempDir(), "data"), Listen: freeAddr(t), API: freeAddr(t)}
	log := &syncBuffer{}
	s := newSite(t, "x")
	prepare(t, args, subscriptionOf(s, sized(1, 1)))
	t.Cleanup(func() {
		endAll(t, args)
		require.Empty(t, processesOf(t, args.Dir))
		if t.Failed() {
			t.Log(log.String())
		}
	})
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("STRATOS_TEST_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	c := startControl(t, args, log)
	known := count(c.settle(1))
	c.kill(syscall.SIGTERM)
	steps := []controller.Step{
		controller.BeforeS1, controller.AfterS1, controller.BeforeS2, controller.AfterS2, controller.BeforeS3,
		controller.AfterS3, controller.BeforeS4, controller.AfterS4, controller.BeforeS5, controller.AfterS5,
	}
	kills := 20
	if given := os.Getenv("STRATOS_TEST_KILLS"); given != "" {
		var err error
		kills, err = strconv.Atoi(given)
		require.NoError(t, err, "STRATOS_TEST_KILLS")
	}
	kills = max(kills, len(steps))
	began := time.Now()
	downs := 0
	for i := range kills {
		name := fmt.Sprintf("%d at a random moment", i)
		dying := args
		if i < len(steps) {
			name = fmt.Sprintf("%d %s", i, steps[i])
			dying.DieAt, dying.DieOn = steps[i], 1+int64(rnd.IntN(3))
		}
		c := startControl(t, dying, log)
		c.scale(4)
		if dying.DieAt == "" {
			<-time.After(time.Duration(rnd.IntN(400)) * time.Millisecond) // the random moment
			c.kill(syscall.SIGKILL)
		} else {
			select {
			case <-c.done:
			case <-time.After(patience):
				t.Fatalf("%s: it did not get there", name)
			}
		}
		c = startControl(t, args, log)
		members := c.settle(4)
		c.exactlyOneEach(members[topology.Active])
		known += 3
		require.Equal(t, known, count(members), "%s: members ever made, tombstones included: three more, whatever was killed", name)
		c.scale(1)
		if dying.DieAt == "" && rnd.IntN(2) == 0 {
			<-time.After(time.Duration(rnd.IntN(400)) * time.Millisecond) // a random moment of the way down
			c.kill(syscall.SIGKILL)
			c = startControl(t, args, log)
			downs++
		}
		c.exactlyOneEach(c.settle(1)[topology.Active])
		c.kill(syscall.SIGTERM)
		t.Logf("%s ok after %v", name, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	t.Logf("RELIABILITY: %d kills (%d steps, %d random moments of scale-ups, %d of scale-downs), %d members launched, 0 acknowledged writes lost, 0 leaked, 0 doubled",
		kills+downs, len(steps), kills-len(steps), downs, known)
}
