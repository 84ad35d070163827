package local_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// A control plane is killed at random moments while it launches. Its successor
// finds every instance or launches it; none is doubled, none restarts.
func TestCrashesDoNotDouble(t *testing.T) {
	const rounds = 20
	dir := t.TempDir()
	d := open(t, dir)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	pids := map[string]int{} // of the agents that were seen
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_CONTROL_DIR="+dir)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		<-time.After(time.Duration(random.Int64N(int64(150 * time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed", "the control plane ended by itself")

		for name, found := range agents(t, dir) {
			eventually(t, fmt.Sprintf("round %d: one agent of %s, not %v", round, name, found), func() bool {
				return len(agents(t, dir)[name]) <= 1
			})
		}
		all, err := d.List(t.Context(), owner)
		require.NoError(t, err)
		for _, i := range all {
			if i.State != cloud.Running {
				continue
			}
			pid := agentPID(t, dir, i.Name)
			if former, ok := pids[i.Name]; ok {
				require.Equal(t, former, pid, "round %d: %s has another agent", round, i.Name)
			}
			pids[i.Name] = pid
		}
		for name, pid := range pids {
			require.True(t, runs(t, pid), "round %d: the agent of %s ended with its control plane", round, name)
		}
		if len(pids) == controlled && round < rounds-1 { // begin anew
			endAll(t, dir)
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "ended")))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "ended"), 0o700))
			clear(pids)
		}
	}
	for n := range controlled {
		i, err := d.Launch(t.Context(), spec(fmt.Sprintf("m%d", n), "idle"))
		require.NoError(t, err)
		require.NotEqual(t, cloud.Gone, i.State, i.Name)
	}
	eventually(t, "every instance has one agent", func() bool {
		running := agents(t, dir)
		for _, pids := range running {
			if len(pids) != 1 {
				return false
			}
		}
		return len(running) == controlled
	})
}
