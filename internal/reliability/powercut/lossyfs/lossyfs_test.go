package lossyfs_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/powercut/lossyfs"
)

const far = 1 << 30 // operations: the power does not go

func mount(t *testing.T, d *lossyfs.Disk) string {
	t.Helper()
	dir := t.TempDir()
	unmount, err := d.Mount(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unmount()) })
	return dir
}

// after returns what a disk holds once its power went.
func after(t *testing.T, d *lossyfs.Disk) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, d.Copy(dir))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := make(map[string][]byte)
	for _, e := range entries {
		files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
	}
	return files
}

func create(t *testing.T, path string, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.Write(content)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() }) // after a power cut it cannot be closed well
	return f
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// cut makes one more operation, with which the power goes.
func cut(t *testing.T, d *lossyfs.Disk, dir string) {
	t.Helper()
	d.CutAfter(1)
	_, err := os.Create(filepath.Join(dir, "one more"))
	require.Error(t, err)
	<-d.Off()
	_, err = os.ReadFile(filepath.Join(dir, "synced"))
	require.Error(t, err, "there is no power")
}

// TestSyncedStaysAndTheRestMayGo writes, syncs, writes more and cuts the power, with many seeds.
func TestSyncedStaysAndTheRestMayGo(t *testing.T) {
	old, changed := bytes.Repeat([]byte("o"), 10_000), bytes.Repeat([]byte("n"), 20_000)
	seen := make(map[string]int)
	for seed := range uint64(40) {
		d := lossyfs.New(seed)
		d.CutAfter(far)
		dir := mount(t, d)
		f := create(t, filepath.Join(dir, "synced"), old)
		require.NoError(t, f.Sync())
		g := create(t, filepath.Join(dir, "untouched"), old)
		require.NoError(t, g.Sync())
		syncDir(t, dir)
		_, err := f.WriteAt(changed, 0)
		require.NoError(t, err)
		require.NoError(t, create(t, filepath.Join(dir, "new"), old).Sync())
		require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "newer")))
		cut(t, d, dir)

		files := after(t, d)
		require.Equal(t, old, files["untouched"], "what was synced is gone, seed %d", seed)
		require.NotContains(t, files, "new")
		if content, there := files["newer"]; there {
			require.Equal(t, old, content, "the content was synced, the name was not")
			seen["name kept"]++
		} else {
			seen["name gone"]++
		}
		content := files["synced"]
		require.Contains(t, []int{len(old), len(changed)}, len(content))
		seen[fmt.Sprint("size ", len(content))]++
		for at := 0; at+512 <= len(old); at += 512 {
			first := content[at]
			require.Contains(t, "on", string(first))
			require.Equal(t, bytes.Repeat([]byte{first}, 512), content[at:at+512], "a torn sector")
			seen[string(first)]++
		}
	}
	for _, what := range []string{"name kept", "name gone", "size 10000", "size 20000", "o", "n"} {
		require.Positive(t, seen[what], "never happened: %s", what)
	}
}

func TestTruncatedComesBack(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 5000)
	seen := make(map[int]int)
	for seed := range uint64(20) {
		d := lossyfs.New(seed)
		d.CutAfter(far)
		dir := mount(t, d)
		f := create(t, filepath.Join(dir, "synced"), content)
		require.NoError(t, f.Sync())
		syncDir(t, dir)
		require.NoError(t, f.Truncate(100))
		cut(t, d, dir)
		n := len(after(t, d)["synced"])
		seen[n]++
	}
	require.Len(t, seen, 2)
	require.Positive(t, seen[100])
	require.Positive(t, seen[5000])
}

func TestADiskThatLies(t *testing.T) {
	d := lossyfs.New(1)
	d.IgnoreSync = true
	d.CutAfter(far)
	dir := mount(t, d)
	for i := range 20 {
		require.NoError(t, create(t, filepath.Join(dir, fmt.Sprint(i)), []byte("x")).Sync())
	}
	syncDir(t, dir)
	cut(t, d, dir)
	require.NotEqual(t, 20, bytes.Count(bytes.Join(values(after(t, d)), nil), []byte("x")))
}

func values(files map[string][]byte) (all [][]byte) {
	for _, b := range files {
		all = append(all, b)
	}
	return all
}

// TestFiles: with power, it is a file system like others.
func TestFiles(t *testing.T) {
	d := lossyfs.New(1)
	d.CutAfter(far)
	dir := mount(t, d)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	f := create(t, a, []byte("hello"))
	_, err := f.Seek(1, io.SeekStart)
	require.NoError(t, err)
	rest, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "ello", string(rest))
	require.NoError(t, os.Link(a, b))
	require.ErrorIs(t, os.Link(a, b), os.ErrExist)
	require.NoError(t, os.Remove(a))
	require.ErrorIs(t, os.Remove(a), os.ErrNotExist)
	content, err := os.ReadFile(b)
	require.NoError(t, err)
	require.Equal(t, "hello", string(content))
	require.NoError(t, os.WriteFile(b, []byte("x"), 0o600))
	require.Equal(t, map[string][]byte{"b": []byte("x")}, after(t, d))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
