package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

// Two processes use one folder, each opening, launching, listing and
// terminating. Nothing is doubled, nothing fails, nothing is left.
func TestTwoProcessesShareAFolder(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	ctx, enough := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_SHARER_DIR="+dir)
		said := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = said, said
		require.NoError(t, cmd.Start())
		others.Go(func() {
			<-ctx.Done()
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended; Wait says how
			if err := cmd.Wait(); err != nil {
				t.Errorf("the other process: %v: %s", err, said.String())
			}
		})
	}
	defer others.Wait()
	defer enough()
	for round := range 15 {
		for n := range controlled {
			name := fmt.Sprintf("s%d-%d", round, n)
			s := spec(name, "idle")
			i, err := d.Launch(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, name, i.Name)
			require.LessOrEqual(t, len(agents(t, dir)[name]), 1, "%s is doubled", name)
			require.NoError(t, d.Terminate(t.Context(), cloud.InstanceID(name)))
		}
		require.NoError(t, (&local.Driver{}).Open(t.Context(), dir), "while others are at it")
		_, err := d.List(t.Context(), owner)
		require.NoError(t, err)
	}
	enough()
	others.Wait()
}

// sharer is the other process: it launches the same names over and over, and
// terminates whatever it sees.
func sharer(dir string) error {
	ctx := context.Background()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	for n := 0; ; n++ {
		d := &local.Driver{}
		if err := d.Open(ctx, dir); err != nil {
			return fmt.Errorf("open: %w", err)
		}
		all, err := d.List(ctx, owner)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, i := range all {
			if err := d.Terminate(ctx, i.ID); err != nil {
				return fmt.Errorf("terminate: %w", err)
			}
			// The token's instance is ending, or has ended: it must not come back.
			again, err := d.Launch(ctx, spec(i.Name, "idle"))
			if err != nil {
				return fmt.Errorf("launch: %w", err)
			}
			if again.State != cloud.Gone {
				return fmt.Errorf("%s came back as %s", i.Name, again.State)
			}
		}
		select {
		case <-stopped:
			return nil
		default:
		}
	}
}

// placed is a request for instances off loopback.
func placed(t *testing.T, name, character string) cloud.Spec {
	s := spec(name, character)
	data, err := json.Marshal(wire.UserData{V: wire.Version, Cluster: character, Member: name, Token: "secret", CA: []byte("the platform's")})
	require.NoError(t, err)
	s.UserData = data
	return s
}

func TestAddress(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	d := &local.Driver{Address: "10.99.0.1"}
	require.NoError(t, d.Open(t.Context(), dir))
	_, err := d.Launch(t.Context(), spec("m0", "idle"))
	require.ErrorIs(t, err, cloud.ErrRejected)
	require.ErrorContains(t, err, "has no CA")
	i, err := d.Launch(t.Context(), placed(t, "m1", "address"))
	require.NoError(t, err)
	require.Equal(t, []string{"10.99.0.1"}, i.Addresses)
	eventually(t, "the agent knows its address", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "instances", "m1", "agent", "address"))
		return err == nil && string(b) == "10.99.0.1"
	})

	// It stays where it is, whoever looks, and wherever they would put theirs.
	other := open(t, dir)
	all, err := other.List(t.Context(), owner)
	require.NoError(t, err)
	require.Equal(t, []string{"10.99.0.1"}, all[0].Addresses)
	require.ErrorContains(t, (&local.Driver{Address: "nowhere"}).Open(t.Context(), dir), "set Address to an IP address")
}

func TestWrapThatIsMissing(t *testing.T) {
	err := (&local.Driver{Wrap: []string{"no-such-program-here"}}).Open(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "install no-such-program-here")
}

// netns makes a network namespace that ends with the test.
func netns(t *testing.T) string {
	name := fmt.Sprintf("stratos-test-%d", os.Getpid())
	ip := func(args ...string) {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %s: %s: this test needs root, and ip (apt-get install iproute2)", strings.Join(args, " "), out)
	}
	ip("netns", "add", name)
	t.Cleanup(func() { ip("netns", "delete", name) })
	ip("-n", name, "link", "set", "lo", "up")
	return name
}

func TestWrapInANetworkNamespace(t *testing.T) {
	space := netns(t)
	dir := t.TempDir()
	open(t, dir)
	d := &local.Driver{Wrap: []string{"ip", "netns", "exec", space}, Address: "127.0.0.1"}
	require.NoError(t, d.Open(t.Context(), dir))
	i, err := d.Launch(t.Context(), spec("m1", "family"))
	require.NoError(t, err)
	require.Equal(t, cloud.Running, i.State)
	pid := agentPID(t, dir, "m1")
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	require.NoError(t, err)
	mine, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.NotEqual(t, mine, theirs)

	again, err := d.Launch(t.Context(), spec("m1", "family"))
	require.NoError(t, err)
	require.Equal(t, i, again)
	require.Equal(t, pid, agentPID(t, dir, "m1"), "it was started again")
	all, err := open(t, dir).List(t.Context(), owner) // by a process outside
	require.NoError(t, err)
	require.Equal(t, cloud.Running, all[0].State)
	eventually(t, "its family is there", func() bool {
		_, err := os.Stat(filepath.Join(dir, "instances", "m1", "agent", "pids"))
		return err == nil
	})
	endAll(t, dir) // and all that it started
	require.False(t, runs(t, pid))

	// One that cannot be started says where to look.
	_, err = (wrapped(t, dir, "ip", "netns", "exec", "no-such-space")).Launch(t.Context(), spec("m2", "idle"))
	require.ErrorContains(t, err, "agent.log")
}

func wrapped(t *testing.T, dir string, wrap ...string) *local.Driver {
	d := &local.Driver{Wrap: wrap}
	require.NoError(t, d.Open(t.Context(), dir))
	return d
}
