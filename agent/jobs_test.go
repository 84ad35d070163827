package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
)

func TestJobs(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB: more than all buffers on the way
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, nil))
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	content := filepath.Join(root, "vol-1", "data", "content")
	require.NoError(t, os.WriteFile(content, []byte(big), 0o600))

	c.mu.Lock()
	c.broken = 2 // tried again
	c.mu.Unlock()
	c.order(wire.Job{ID: "b1", Kind: wire.JobBackup})
	require.Eventually(t, func() bool { return c.storedOf("b1") == big }, patience, 5*time.Millisecond)

	c.mu.Lock()
	c.stored["r1"], c.broken = big[1:], 1
	c.mu.Unlock()
	c.order(wire.Job{ID: "r1", Kind: wire.JobRestore})
	require.Empty(t, c.awaitResult("r1"))
	got, err := os.ReadFile(content)
	require.NoError(t, err)
	require.Equal(t, big[1:], string(got))
	require.Equal(t, []string{"restored"}, noted(t, root), "what broke off was taken for the whole")

	c.order(wire.Job{ID: "x1", Kind: "defragment"})
	require.Contains(t, c.awaitResult("x1"), `knows no "defragment"`)
}

// A job that a switch cut off has not failed: it begins again.
func TestSwitchDuringABackup(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	plan := servicePlan(t, map[string]string{"backup": `echo part; if [ ! -e "$NOTES" ]; then echo begun > "$NOTES"; sleep 1000; fi`})
	one := c.provide("r1", plan)
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(one)
	require.NoError(t, os.WriteFile(filepath.Join(root, "vol-1", "data", "content"), []byte("all"), 0o600))
	c.order(wire.Job{ID: "b1", Kind: wire.JobBackup})
	require.Eventually(t, func() bool { return len(noted(t, root)) == 1 }, patience, time.Millisecond)
	two := c.provide("r2", plan)
	c.awaitServing(two)
	require.Eventually(t, func() bool { return c.storedOf("b1") == "part\nall" }, patience, time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.results)
}

func TestFailedBackupStoresNothing(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, map[string]string{"backup": `echo half; echo "lost $ROOT" >&2; exit 4`}))
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	c.order(wire.Job{ID: "b1", Kind: wire.JobBackup})
	require.Equal(t, "backup: exit status 4: lost ***", c.awaitResult("b1"))
	c.order(wire.Job{})
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotContains(t, c.stored, "b1")
	require.Positive(t, c.started)
}

func TestFailedRestoreIsSaid(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, map[string]string{"restore": `echo "cannot read it" >&2; exit 5`}))
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	c.mu.Lock()
	c.stored["r1"] = strings.Repeat("x", 1<<20)
	c.mu.Unlock()
	c.order(wire.Job{ID: "r1", Kind: wire.JobRestore})
	require.Equal(t, "restore: exit status 5: cannot read it", c.awaitResult("r1"))
}

func (c *controlPlane) storedOf(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored[id]
}
