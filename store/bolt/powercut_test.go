package bolt_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/powercut"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// cutPower cuts the power under a child a few times.
func cutPower(t *testing.T, child string, o powercut.Options) powercut.Result {
	t.Helper()
	o.Dir, o.Seed, o.Rounds = t.TempDir(), testSeed(t), 10
	o.Writer = func(ctx context.Context, dir, run string) *exec.Cmd {
		return childCommand(ctx, t, child, filepath.Join(dir, "store.db"), run)
	}
	o.Open = func(dir string) (store.Store, error) { return bolt.Open(filepath.Join(dir, "store.db"), nil) }
	r, err := powercut.Run(t.Context(), o)
	require.NoError(t, err)
	t.Logf("%+v", r)
	require.Positive(t, r.Acknowledged)
	return r
}

// TestPowerCut: what was acknowledged is there after a power cut at any moment.
func TestPowerCut(t *testing.T) {
	for _, test := range []struct {
		name       string
		operations int
	}{
		{"in the first moments", 40},
		{"later", 1500},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := cutPower(t, childWrites, powercut.Options{Operations: test.operations})
			require.NoError(t, r.Why)
			require.Zero(t, r.Lost)
			require.Zero(t, r.Torn)
			require.Zero(t, r.Unreadable)
		})
	}
}

// TestPowerCutCatchesCommitAcknowledgedBeforeSync breaks the store: a harness
// that sees no loss then is blind.
func TestPowerCutCatchesCommitAcknowledgedBeforeSync(t *testing.T) {
	require.Positive(t, cutPower(t, childLies, powercut.Options{Operations: 1500}).Lost)
}

// TestPowerCutCatchesADiskThatLies is the same for the disk.
func TestPowerCutCatchesADiskThatLies(t *testing.T) {
	require.Positive(t, cutPower(t, childWrites, powercut.Options{Operations: 1500, IgnoreSync: true}).Lost)
}
