package local_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

// A launch that comes late, while its instance is terminated, brings nothing
// back to life.
func TestLaunchLosesAgainstTerminate(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for n := range 10 {
		s := spec(fmt.Sprintf("m%d", n), "idle")
		_, err := d.Launch(t.Context(), s)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var late sync.WaitGroup
		for range 3 {
			late.Go(func() {
				for ctx.Err() == nil {
					_, _ = d.Launch(ctx, s) // any answer will do, but none lives
				}
			})
		}
		eventually(t, "it is ended", func() bool {
			require.NoError(t, d.Terminate(t.Context(), cloud.InstanceID(s.Name)))
			_, err := os.Stat(filepath.Join(dir, "ended", s.Name))
			return err == nil && stateOf(t, d, s.Name) == "absent"
		})
		cancel()
		late.Wait()
		require.Equal(t, cloud.InstanceState("absent"), stateOf(t, d, s.Name))
		require.Empty(t, agents(t, dir)[s.Name])
	}
	require.Empty(t, names(t, filepath.Join(dir, "instances")))
}

// agentSays starts an agent by hand, as a Launch that has lost a race would,
// and returns its first word.
func agentSays(t *testing.T, dir, name string) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command(os.Args[0], local.AgentArg, name)
	cmd.Env = append(os.Environ(), local.InstanceEnv+"="+filepath.Join(dir, "instances", name))
	cmd.ExtraFiles = []*os.File{w}
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	_ = cmd.Wait() // its status says no more
	return string(said)
}

// An agent looks for itself whether it should run.
func TestAgentRefusesToRun(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, dir string, d *local.Driver)
		says    string
	}{
		{"beside another", func(t *testing.T, _ string, d *local.Driver) {
			_, err := d.Launch(t.Context(), spec("m1", "idle"))
			require.NoError(t, err)
		}, "held\n"},
		{"after another", func(t *testing.T, dir string, d *local.Driver) {
			_, err := d.Launch(t.Context(), spec("m1", "idle"))
			require.NoError(t, err)
			kill(t, agentPID(t, dir, "m1"))
		}, "does not run again"},
		{"in an instance that shall end", func(t *testing.T, dir string, d *local.Driver) {
			claimed(t, dir, d, spec("m1", "idle"))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "instances", "m1", "terminate"), nil, 0o600))
		}, "asked to end"},
		{"in no folder", func(*testing.T, string, *local.Driver) {}, "no such file"},
		{"with damaged user-data", func(t *testing.T, dir string, d *local.Driver) {
			claimed(t, dir, d, spec("m1", "idle"))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "instances", "m1", "user-data"), []byte("s3cret"), 0o600))
		}, "user-data is not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			test.prepare(t, dir, d)
			said := agentSays(t, dir, "m1")
			require.Contains(t, said, test.says)
			require.NotContains(t, said, "s3cret")
		})
	}
}

func TestLaunchSaysWhyTheAgentRefuses(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	claimed(t, dir, d, spec("m1", "idle"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "instances", "m1", "user-data"), []byte("s3cret"), 0o600))
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.ErrorContains(t, err, "instance m1: the agent refuses: user-data is not JSON")
	require.NotContains(t, err.Error(), "s3cret")
	require.Equal(t, cloud.Pending, stateOf(t, d, "m1"))
}
