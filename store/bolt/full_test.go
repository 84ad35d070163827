package bolt_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// filler is where acknowledgements go. After some of them it fills the disk.
type filler struct {
	bytes.Buffer
	left int
	fill func() error
}

func (f *filler) Write(b []byte) (int, error) {
	if f.left--; f.left == 0 {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	return f.Buffer.Write(b)
}

// TestDiskFillsUp fills a small disk at a random moment, several times, under
// writers: they get ErrFull, the store goes on when there is room, and nothing
// that was acknowledged is lost.
func TestDiskFillsUp(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"), "mounting a tmpfs needs root")
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	random := rand.New(rand.NewPCG(testSeed(t), 0))
	path, ballast := filepath.Join(dir, "store.db"), filepath.Join(dir, "ballast")
	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	var l ledger.Ledger
	for _, run := range []string{"first", "second", "third"} {
		out := &filler{left: 1 + random.IntN(500), fill: func() error { return takeRoom(ballast) }}
		require.ErrorIs(t, ledger.Write(t.Context(), s, out, run, 8), store.ErrFull)
		_, err = l.Read(&out.Buffer)
		require.NoError(t, err)

		// Reading goes on, and so does writing when there is room.
		a, err := l.Check(t.Context(), s)
		require.NoError(t, err)
		require.Positive(t, a.Acknowledged)
		require.Zero(t, a.Lost)
		require.Zero(t, a.Torn)
		require.NoError(t, os.Remove(ballast))
		put(t, s, run, "there is room again")
	}
	require.NoError(t, takeRoom(ballast))
	require.NoError(t, s.Close())
	s, err = bolt.Open(path, nil)
	require.NoError(t, err, "a full disk does not keep a store from opening")
	a, err := l.Check(t.Context(), s)
	require.NoError(t, err)
	require.Zero(t, a.Lost)
	require.Zero(t, a.Torn)
	require.NoError(t, s.Close())
	_, err = bolt.Open(filepath.Join(dir, "new.db"), nil)
	require.ErrorIs(t, err, store.ErrFull)
	require.NoFileExists(t, filepath.Join(dir, "new.db"))
	t.Logf("%+v", a)
}

// takeRoom writes a file until the disk is full.
func takeRoom(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 1<<16))
	}
	for err = nil; err == nil; {
		_, err = f.Write(make([]byte, 1))
	}
	return f.Close()
}
