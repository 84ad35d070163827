package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

func TestOpenAsksForMain(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_FORGETFUL_DIR="+dir)
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "call local.Main() first in main")
	require.Empty(t, names(t, dir), "nothing was made")
}

func TestOpenNeedsAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, (&local.Driver{}).Open(t.Context(), ""), "set Dir")
	require.ErrorContains(t, (&local.Driver{}).Open(t.Context(), file), "not a directory")
}

func TestDirIsUsedInsteadOfWhatOpenIsGiven(t *testing.T) {
	given, own := t.TempDir(), filepath.Join(t.TempDir(), "own")
	d := &local.Driver{Dir: own}
	require.NoError(t, d.Open(t.Context(), given))
	require.Empty(t, names(t, given))
	require.ElementsMatch(t, []string{"bin", "instances", "ended", "tmp"}, names(t, own))
}

func TestCallsBeforeOpenAreErrors(t *testing.T) {
	d := &local.Driver{Dir: t.TempDir()}
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.ErrorContains(t, err, "not open")
	require.False(t, cloud.SurelyNot(err))
	require.ErrorContains(t, d.Terminate(t.Context(), "m1"), "not open")
	_, err = d.List(t.Context(), owner)
	require.ErrorContains(t, err, "not open")
}

func TestCapabilities(t *testing.T) {
	c := (&local.Driver{}).Capabilities()
	require.Equal(t, cloud.ByName, c.Idempotency)
	require.Zero(t, c.ListLag)
}

// The program is copied once, and former copies go when no agent runs them.
func TestOpenKeepsTheCopiesInUse(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	bin := filepath.Join(dir, "bin")
	require.Len(t, names(t, bin), 1)
	current := names(t, bin)[0]
	before, err := os.Stat(filepath.Join(bin, current))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), before.Mode().Perm())

	// As if a former program, with another sum, had launched it.
	_, err = d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	pid := filepath.Join(dir, "instances", "m1", "pid.json")
	b, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.Contains(t, string(b), current)
	require.NoError(t, os.WriteFile(pid, replace(t, b, current, "former"), 0o600))
	for _, name := range []string{"former", "unused", "new-123", "new-456"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), nil, 0o700))
	}
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(bin, "new-123"), old, old)) // left by a crash; the other one may be another process's work

	require.NoError(t, (&local.Driver{}).Open(t.Context(), dir))
	require.ElementsMatch(t, []string{current, "former", "new-456"}, names(t, bin))
	after, err := os.Stat(filepath.Join(bin, current))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it was copied again")
}

// A copy that somebody removed is made again, from the running program.
func TestLaunchRestoresTheCopy(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Remove(filepath.Join(bin, names(t, bin)[0])))
	i, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.Equal(t, cloud.Running, i.State)
	require.Len(t, names(t, bin), 1)
}

func TestOpenRemovesOldLeftovers(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	old, young := filepath.Join(dir, "tmp", "old"), filepath.Join(dir, "tmp", "young")
	require.NoError(t, os.MkdirAll(filepath.Join(old, "read-only"), 0o700))
	require.NoError(t, os.Mkdir(young, 0o700))
	age(t, old)
	require.NoError(t, (&local.Driver{}).Open(t.Context(), dir))
	require.Equal(t, []string{"young"}, names(t, filepath.Join(dir, "tmp")))
}

func TestOpenForgetsOldTokens(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	ended := filepath.Join(dir, "ended")
	require.NoError(t, os.WriteFile(filepath.Join(ended, "old"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(ended, "young"), nil, 0o600))
	age(t, filepath.Join(ended, "old"))
	require.NoError(t, (&local.Driver{}).Open(t.Context(), dir))
	require.Equal(t, []string{"young"}, names(t, ended))
}
