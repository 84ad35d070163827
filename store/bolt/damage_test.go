package bolt_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// sound returns the bytes of a store with branches, long values, free pages, leases and history.
func sound(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	l, err := s.Grant(t.Context(), 1)
	require.NoError(t, err)
	for i := range 60 {
		_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{
			{Key: fmt.Sprintf("k/%d", i), Value: bytes.Repeat([]byte{byte(i)}, 700)},
			{Key: "long", Value: bytes.Repeat([]byte{byte(i)}, 9000)},
			{Key: fmt.Sprintf("l/%d", i), Lease: l.ID()},
			{Key: fmt.Sprintf("k/%d", i-30), Delete: true},
		}})
		require.NoError(t, err)
	}
	require.NoError(t, s.Compact(t.Context(), 30))
	require.NoError(t, s.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func TestBadFiles(t *testing.T) {
	good := sound(t)
	write := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, b, 0o600)) }
	}
	flip := func(at ...int) func(*testing.T, string) {
		b := bytes.Clone(good)
		for _, i := range at {
			b[i] ^= 0xff
		}
		return write(b)
	}
	const restore = "restore a backup"
	for _, test := range []struct {
		name string
		make func(*testing.T, string)
		says []string
	}{
		{"empty", write(nil), []string{"empty", restore}},
		{"text", write([]byte("hello, world\n")), []string{"not a store", restore}},
		{"zeros", write(make([]byte, len(good))), []string{"not a store", restore}},
		{"another program's", write(append([]byte("SQLite format 3\x00"), good[16:]...)), []string{}},
		{"both headers damaged", flip(20, 4096+20), []string{"not a store, or is damaged", restore}},
		{"a newer layout of pages", flip(20, 4096+20), []string{restore}},
		{"cut off in the middle", write(good[:len(good)/8192*4096]), []string{"cut off", restore}},
		{"cut off after the headers", write(good[:3*4096]), []string{"cut off", restore}},
		{"cut off in the header", write(good[:30]), []string{"not a store", restore}},
		{"a folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, []string{"not a file", "choose another"}},
		{"a device", func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) }, []string{"not a file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			test.make(t, path)
			before := inspect(t, path)
			s, err := bolt.Open(path, nil)
			if len(test.says) == 0 { // one of the two headers is enough
				require.NoError(t, err)
				require.NoError(t, s.Close())
				return
			}
			require.ErrorContains(t, err, path)
			for _, say := range test.says {
				require.ErrorContains(t, err, say)
			}
			require.Equal(t, before, inspect(t, path), "the file was changed")
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, entries, 1, "something was left behind")
		})
	}
}

// inspect returns what must not change.
func inspect(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	if !info.Mode().IsRegular() {
		return info.Mode().String()
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return info.Mode().String() + string(b)
}

func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	require.NoError(t, os.WriteFile(path, sound(t), 0o600))
	refused := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := unix.Setfsuid(65534); err != nil {
			refused <- err
			return
		}
		_, err := bolt.Open(path, nil)
		refused <- err
	}()
	err := <-refused
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, path)
}

// use does everything with a file that may be damaged: it returns, with an error or without.
func use(path string) error {
	s, err := bolt.Open(path, &bolt.Options{KeepRevisions: 1, KeepFor: 1})
	if err != nil {
		return err
	}
	ctx := context.Background()
	_, err = s.List(ctx, "", store.ReadOptions{})
	if err == nil {
		_, _, err = s.Get(ctx, "k/40", store.ReadOptions{})
	}
	if w, err := s.Watch(ctx, "", 31); err == nil {
		for range 10 {
			if _, err := w.Next(ctx); err != nil {
				break
			}
		}
		w.Close()
	}
	for i := range 2 {
		_, _ = s.Commit(ctx, store.Txn{Then: []store.Op{{Key: fmt.Sprintf("k/%d", i*20), Value: make([]byte, 5000)}}})
	}
	_ = s.Close()
	return err
}

// FuzzFlippedBits: a damaged file is an error, or it works; it never crashes the process.
func FuzzFlippedBits(f *testing.F) {
	good := sound(f)
	for page := 0; page < len(good)/4096; page += 1 + page/8 {
		for _, at := range []uint32{0, 8, 10, 12, 16, 20, 24} {
			f.Add(uint32(page)*4096+at, byte(1), uint32(page)*4096+at+1, byte(at))
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, one uint32, mask1 byte, two uint32, mask2 byte) {
		b := bytes.Clone(good)
		b[int(one)%len(b)] ^= mask1
		b[int(two)%len(b)] ^= mask2
		path := filepath.Join(dir, "store.db")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		if err := use(path); err != nil {
			require.ErrorContains(t, err, path)
		}
	})
}

// TestDamagedWhileOpen damages a file under a store that is open.
func TestDamagedWhileOpen(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(f *os.File, size int64) error
	}{
		{"cut off", func(f *os.File, _ int64) error { return f.Truncate(4096) }},
		{"cut off to nothing", func(f *os.File, _ int64) error { return f.Truncate(0) }},
		{"overwritten with zeros", func(f *os.File, size int64) error {
			_, err := f.WriteAt(make([]byte, size-2*4096), 2*4096)
			return err
		}},
		{"overwritten with ones", func(f *os.File, size int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(size)-2*4096), 2*4096)
			return err
		}},
		{"headers too", func(f *os.File, size int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(size)), 0)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			good := sound(t)
			require.NoError(t, os.WriteFile(path, good, 0o600))
			s, err := bolt.Open(path, nil)
			require.NoError(t, err)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			require.NoError(t, test.damage(f, int64(len(good))))
			require.NoError(t, f.Close())

			_, err = s.List(t.Context(), "", store.ReadOptions{})
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "restore a backup")
			_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "k/40", Value: []byte("x")}}})
			require.ErrorContains(t, err, path)
			_ = s.Close() // returns, with or without an error
			_, err = bolt.Open(path, nil)
			require.ErrorContains(t, err, path)
		})
	}
}

// TestBackupUnderWrites: a backup of a busy store is of one revision, whole.
func TestBackupUnderWrites(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	for i := range 4 {
		g.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				v := []byte(fmt.Sprintf("%d.%d", i, n))
				if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{
					{Key: "a", Value: v}, {Key: fmt.Sprintf("%d/%d", i, n), Value: bytes.Repeat(v, 100)}, {Key: "z", Value: v},
				}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range 5 {
		backup, restored := filepath.Join(dir, fmt.Sprintf("backup%d", i)), filepath.Join(t.TempDir(), "store.db")
		acked := put(t, s, "mark", fmt.Sprint(i))
		require.NoError(t, s.Backup(t.Context(), backup))
		require.NoError(t, bolt.Restore(t.Context(), backup, restored))
		r, err := bolt.Open(restored, nil)
		require.NoError(t, err)
		page, err := r.List(t.Context(), "", store.ReadOptions{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, page.Rev, acked)
		kvs := make(map[string]store.KV)
		for _, kv := range page.KVs {
			kvs[kv.Key] = kv
		}
		require.Equal(t, fmt.Sprint(i), string(kvs["mark"].Value))
		require.Equal(t, kvs["a"].Mod, kvs["z"].Mod)
		require.Equal(t, string(kvs["a"].Value), string(kvs["z"].Value))
		id, err := r.ID(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), id.Generation)
		require.NoError(t, r.Close())
	}
	stop()
	require.NoError(t, g.Wait())
	require.ErrorIs(t, bolt.Restore(t.Context(), filepath.Join(dir, "store.db"), filepath.Join(dir, "none")), store.ErrInUse,
		"the file of a running store is no backup")
}
