package testprograms_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "a", "b")
	require.NoError(t, os.MkdirAll(below, 0o755))
	t.Chdir(below)
	_, err := testprograms.Find("server")
	require.ErrorContains(t, err, "inside the repository")

	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), nil, 0o600))
	_, err = testprograms.Find("server")
	require.ErrorContains(t, err, "server is missing")
	require.ErrorContains(t, err, "make test-programs")

	want := filepath.Join(root, "bin", "test", "server")
	require.NoError(t, os.MkdirAll(filepath.Dir(want), 0o755))
	require.NoError(t, os.WriteFile(want, nil, 0o700))
	require.Equal(t, want, testprograms.Path(t, "server"))
}
