package stratos_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// TestFullDisk fills the disk under a running platform: the app is served as
// before, wishes are refused with the reason, and when there is room again
// everything goes on, without a restart.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256m"), "this test mounts a small disk: run it as root")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, 0)) })
	s := newSite(t, "hello")
	b := newBed(t, func(c *stratos.Config) { c.Dir = filepath.Join(disk, "data") })
	b.subscribe(s, sized(1, 4))

	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	bounds := 2
	require.Eventually(t, func() bool {
		bounds++ // each time another wish, which has to be written
		err := b.Scale(b.ctx, tenant.Default, app, 1, bounds%90+2)
		fill(t, filler) // what the store could still take
		return errors.Is(err, store.ErrFull)
	}, patience, 10*time.Millisecond, "a wish that cannot be written is refused")
	for range 50 {
		require.Equal(t, "hello", b.page("/"), "served as before")
	}

	require.NoError(t, os.Remove(filler))
	require.Eventually(t, func() bool { return b.Scale(b.ctx, tenant.Default, app, 2, 2) == nil }, patience, 50*time.Millisecond)
	b.await("two members serve", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 2 })
	require.Equal(t, "hello", b.page("/"))
}

// fill takes all the room that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
}
