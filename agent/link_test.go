package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// TestLinksLeadIntoVolumes: out of a release that is read-only, again and
// again, and what is behind them outlives it.
func TestLinksLeadIntoVolumes(t *testing.T) {
	top := t.TempDir()
	release, root := filepath.Join(top, "release"), filepath.Join(top, "volumes")
	require.NoError(t, os.MkdirAll(filepath.Join(release, "site", "uploads", "old"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(release, "site", "index.php"), nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "d", "shared"), 0o700))
	require.NoError(t, chmodTree(release, 0o222))
	plan := cartridge.Plan{
		Volumes: []cartridge.Volume{{Name: "shared", Dirs: []string{"sessions", "a/b"}}},
		Links: []cartridge.Link{
			{Path: "site/uploads", Volume: "shared", Dir: "files/uploads"}, {Path: "new/place", Volume: "shared", Dir: "files/place"},
		},
	}
	s := &slot{plan: plan, release: release, volumes: &volumes{dir: filepath.Join(root, "d"), all: plan.Volumes}}
	for range 2 {
		require.NoError(t, s.link())
	}
	shared := filepath.Join(root, "d", "shared")
	for _, dir := range []string{"sessions", "a/b", "files/uploads"} {
		info, err := os.Stat(filepath.Join(shared, dir))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
	require.NoError(t, os.WriteFile(filepath.Join(release, "site", "uploads", "dot.png"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(release, "new", "place", "y"), nil, 0o600))
	require.FileExists(t, filepath.Join(shared, "files", "uploads", "dot.png"))
	for _, dir := range []string{".", "site", "new"} {
		info, err := os.Stat(filepath.Join(release, dir))
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o222, "%s is read-only again", dir)
	}
	require.NoError(t, removeTree(release))
	require.FileExists(t, filepath.Join(shared, "files", "uploads", "dot.png"))
	require.FileExists(t, filepath.Join(shared, "files", "place", "y"))

	// A link in the volume leads nowhere else.
	require.NoError(t, os.Symlink(top, filepath.Join(shared, "out")))
	require.Error(t, makeIn(shared, "out/x"))
}
