package local_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

func TestTerminateAsksOnce(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.NoError(t, d.Terminate(t.Context(), "m1"))
	eventually(t, "listing finishes what was begun", func() bool { return stateOf(t, d, "m1") == "absent" })
	require.Empty(t, names(t, filepath.Join(dir, "instances")))
	require.Empty(t, names(t, filepath.Join(dir, "tmp")))
	require.Empty(t, agents(t, dir))
}

func TestTerminateOfNothing(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for _, id := range []cloud.InstanceID{"nobody", "", "..", "../bin", "a/b"} {
		require.NoError(t, d.Terminate(t.Context(), id), id)
	}
	require.Len(t, names(t, filepath.Join(dir, "bin")), 1)
}

// An agent that does not end is asked until the grace is over, then killed.
func TestTerminateKillsAfterTheGrace(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir) // with a grace of a minute
	_, err := d.Launch(t.Context(), spec("m1", "stubborn"))
	require.NoError(t, err)
	pid := agentPID(t, dir, "m1")
	for range 3 {
		require.NoError(t, d.Terminate(t.Context(), "m1"))
		require.True(t, runs(t, pid))
		require.Equal(t, cloud.Running, stateOf(t, d, "m1"))
	}
	i, err := d.Launch(t.Context(), spec("m1", "stubborn"))
	require.NoError(t, err)
	require.Equal(t, cloud.Gone, i.State, "what shall end is not launched again")

	// A restart of the platform does not begin a new grace.
	age(t, filepath.Join(dir, "instances", "m1", "terminate"))
	d = open(t, dir)
	require.NoError(t, d.Terminate(t.Context(), "m1"))
	require.False(t, runs(t, pid))
	require.Equal(t, cloud.InstanceState("absent"), stateOf(t, d, "m1"))
}

// familyOf waits for the processes that the agent leaves behind.
func familyOf(t *testing.T, dir, name string) (pids []int) {
	t.Helper()
	read := func(file string) (lines []string) {
		eventually(t, file+" is written", func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "instances", name, "agent", file))
			if !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, err)
			}
			lines = strings.Fields(string(b))
			return strings.HasSuffix(string(b), "\n")
		})
		return lines
	}
	for _, s := range append(read("pids"), read("pids.more")...) {
		pid, err := strconv.Atoi(s)
		require.NoError(t, err)
		eventually(t, "it runs", func() bool { return runs(t, pid) })
		pids = append(pids, pid)
	}
	require.Len(t, pids, 5)
	return pids
}

// Nothing that an agent started survives its instance, however the agent ends.
func TestTerminateEndsTheWholeFamily(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t testing.TB, agent int)
	}{
		{"after kill -9 of the agent", kill},
		{"after its graceful end", func(testing.TB, int) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			_, err := d.Launch(t.Context(), spec("m1", "family"))
			require.NoError(t, err)
			_, err = d.Launch(t.Context(), spec("m10", "family"))
			require.NoError(t, err)
			family, others := familyOf(t, dir, "m1"), familyOf(t, dir, "m10")
			other := agentPID(t, dir, "m10")

			test.end(t, agentPID(t, dir, "m1"))
			eventually(t, "the instance is ended", func() bool {
				require.NoError(t, d.Terminate(t.Context(), "m1"))
				return stateOf(t, d, "m1") == "absent"
			})
			for _, pid := range family {
				require.False(t, runs(t, pid), "process %d is left", pid)
			}
			for _, pid := range append(others, other) {
				require.True(t, runs(t, pid), "a process of another instance was killed")
			}
		})
	}
}

// Numbers are used again: what has the agent's number now, and its session's,
// is somebody else.
func TestTerminateLeavesRecycledNumbersAlone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	agent := agentPID(t, dir, "m1")
	path := filepath.Join(dir, "instances", "m1", "pid.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)

	stranger := exec.Command("setsid", "--wait", "sleep", "1000")
	require.NoError(t, stranger.Start())
	defer func() {
		require.NoError(t, stranger.Process.Kill())
		_ = stranger.Wait() // killed
	}()
	pid := stranger.Process.Pid
	b = replace(t, b, `"pid":`+strconv.Itoa(agent), `"pid":`+strconv.Itoa(pid))
	b = replace(t, b, `"start":`, `"start":1,"began":`) // long before the stranger
	require.NoError(t, os.WriteFile(path, b, 0o600))
	require.Equal(t, cloud.Gone, stateOf(t, d, "m1"))

	kill(t, agent)
	require.NoError(t, d.Terminate(t.Context(), "m1"))
	require.True(t, runs(t, pid))
}

// A process of a former boot, or of another container, is not this one.
func TestOtherBootsProcessIsGone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	path := filepath.Join(dir, "instances", "m1", "pid.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, test := range []struct {
		name    string
		content []byte
	}{
		{"another boot", replace(t, b, `"boot":"`, `"boot":"other `)},
		{"torn by a crash of the machine", b[:len(b)/2]},
		{"emptied by a crash of the machine", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, test.content, 0o600))
			require.Equal(t, cloud.Gone, stateOf(t, d, "m1"))
		})
	}
	require.NoError(t, os.WriteFile(path, b, 0o600))
	require.Equal(t, cloud.Running, stateOf(t, d, "m1"))
}

// The folder of an ended instance goes, also where it is read-only.
func TestTerminateRemovesReadOnlyFolders(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	release := filepath.Join(dir, "instances", "m1", "agent", "release")
	require.NoError(t, os.Mkdir(release, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(release, "index.html"), nil, 0o400))
	require.NoError(t, os.Chmod(release, 0o500))
	require.NoError(t, d.Terminate(t.Context(), "m1"))
	eventually(t, "it is removed", func() bool { return stateOf(t, d, "m1") == "absent" })
	require.Empty(t, names(t, filepath.Join(dir, "tmp")))
}

// Looking at the lock does not take it: a starting agent never meets a lister.
func TestListDoesNotHoldTheLock(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	claimed(t, dir, d, spec("m1", "idle"))
	stop := make(chan struct{})
	listed := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				listed <- nil
				return
			default:
			}
			if _, err := d.List(t.Context(), owner); err != nil {
				listed <- err
				return
			}
		}
	}()
	i, err := d.Launch(t.Context(), spec("m1", "idle"))
	close(stop)
	require.NoError(t, err)
	require.NoError(t, <-listed)
	require.Equal(t, cloud.Running, i.State)
	require.Less(t, time.Since(i.Launched), time.Hour)
}
