package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent"
	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/internal/procfs"
)

// TestMain makes the test binary what a flavour is: a program that is its own
// agent. The agents of most tests have characters of their own, named by the
// cluster in their user-data.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TEST_FORGETFUL_DIR"); dir != "" { // a program that does not call Main
		fmt.Println((&local.Driver{}).Open(context.Background(), dir))
		return
	}
	local.MainOf(character)
	if os.Getenv("TEST_APP") != "" {
		app()
		return
	}
	if dir := os.Getenv("TEST_CONTROL_DIR"); dir != "" {
		control(dir)
		return
	}
	if dir := os.Getenv("TEST_SHARER_DIR"); dir != "" {
		if err := sharer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func character(ctx context.Context, a *agent.Agent) error {
	switch a.UserData.Cluster {
	case "real":
		return a.Run(ctx)
	case "stubborn": // does not end when told to
		select {}
	case "family": // leaves processes behind, in all ways there are
		if err := family(a.Dir); err != nil {
			return err
		}
	case "address": // says where it is
		if err := os.WriteFile(filepath.Join(a.Dir, "address"), []byte(a.Address), 0o600); err != nil {
			return err
		}
	case "fails":
		return errors.New("the token is refused")
	}
	<-ctx.Done()
	return nil
}

// family starts processes and writes their numbers to dir/pids.
func family(dir string) error {
	const nap = "exec sleep 1000"
	clean := []string{"PATH=" + os.Getenv("PATH")}
	members := []exec.Cmd{
		// A worker in a group of its own, without any trace in its environment.
		{Args: []string{"sh", "-c", nap}, Env: clean, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}},
		// A daemon in a session of its own, which has kept its home.
		{Args: []string{"sh", "-c", nap}, Env: append(clean, "HOME="+dir), SysProcAttr: &syscall.SysProcAttr{Setsid: true}},
		// And one with the agent's whole environment.
		{Args: []string{"sh", "-c", nap}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}},
		// A daemon's child, which is known by its parent only.
		{Args: []string{"sh", "-c", "env -i setsid sleep 1000 & echo $! >>" + dir + "/pids.more; wait"}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}},
	}
	var pids []string
	for _, c := range members {
		c.Path = "/bin/sh"
		if err := c.Start(); err != nil {
			return err
		}
		pids = append(pids, strconv.Itoa(c.Process.Pid))
	}
	tmp := filepath.Join(dir, "pids.tmp")
	if err := os.WriteFile(tmp, []byte(strings.Join(pids, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "pids"))
}

// control is a control plane that launches its instances over and over, until
// it is killed.
func control(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d := &local.Driver{}
	if err := d.Open(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		if _, err := d.Launch(ctx, spec(fmt.Sprintf("m%d", n%controlled), "idle")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// controlled is how many instances control launches.
const controlled = 6

const owner = cloud.Owner("test")

// spec is a request for an agent of a character.
func spec(name, character string) cloud.Spec {
	data, err := json.Marshal(wire.UserData{V: wire.Version, Cluster: character, Member: name, Token: "secret-of-" + name})
	if err != nil {
		panic(err)
	}
	return cloud.Spec{
		Token: "token" + name, Name: name, UserData: data,
		Tags: map[string]string{cloud.TagOwner: string(owner), cloud.TagMember: name},
	}
}

// open returns a driver in dir, and ends what is in it after the test.
func open(t testing.TB, dir string) *local.Driver {
	t.Helper()
	d := &local.Driver{Grace: time.Minute}
	require.NoError(t, d.Open(context.Background(), dir))
	t.Cleanup(func() { endAll(t, dir) })
	return d
}

// endAll terminates everything in dir without any grace, and looks for what is left.
func endAll(t testing.TB, dir string) {
	d := &local.Driver{Grace: time.Nanosecond}
	require.NoError(t, d.Open(context.Background(), dir))
	require.Eventually(t, func() bool {
		for _, name := range names(t, filepath.Join(dir, "instances")) {
			require.NoError(t, d.Terminate(context.Background(), cloud.InstanceID(name)))
		}
		return len(names(t, filepath.Join(dir, "instances"))) == 0
	}, time.Minute, 20*time.Millisecond)
	require.Empty(t, agents(t, dir), "processes are left")
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// agents returns the processes that carry a folder below dir as their
// instance, by the instance's name.
func agents(t testing.TB, dir string) map[string][]int {
	t.Helper()
	found := map[string][]int{}
	for _, e := range names(t, "/proc") {
		pid, err := strconv.Atoi(e)
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e + "/environ")
		if err != nil {
			continue // ended
		}
		for v := range strings.SplitSeq(string(b), "\x00") {
			if path, ok := strings.CutPrefix(v, local.InstanceEnv+"="+dir+"/instances/"); ok {
				found[path] = append(found[path], pid)
			}
		}
	}
	return found
}

// runs reports whether there is such a process, and it is no zombie.
func runs(t testing.TB, pid int) bool {
	t.Helper()
	s, ok, err := procfs.Read(pid)
	require.NoError(t, err)
	return ok && s.Runs()
}

// agentPID is what the instance's agent says of itself.
func agentPID(t testing.TB, dir, name string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "instances", name, "pid.json"))
	require.NoError(t, err)
	var p struct{ PID int }
	require.NoError(t, json.Unmarshal(b, &p))
	return p.PID
}

func stateOf(t testing.TB, d *local.Driver, name string) cloud.InstanceState {
	t.Helper()
	all, err := d.List(context.Background(), owner)
	require.NoError(t, err)
	for _, i := range all {
		if i.Name == name {
			return i.State
		}
	}
	return "absent"
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 10*time.Millisecond, what)
}

func kill(t testing.TB, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "the killed process ends", func() bool { return !runs(t, pid) })
}

// age makes a file two days old.
func age(t testing.TB, path string) {
	t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
}

func replace(t testing.TB, b []byte, former, by string) []byte {
	t.Helper()
	require.Contains(t, string(b), former)
	return []byte(strings.ReplaceAll(string(b), former, by))
}
