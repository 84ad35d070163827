package bolt_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

func put(t *testing.T, s store.Store, key, value string) store.Revision {
	t.Helper()
	rev, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: key, Value: []byte(value)}}})
	require.NoError(t, err)
	return rev
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for range 2 {
		s, err := bolt.Open(path, nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		require.NoError(t, os.Chmod(path, 0o644)) // somebody copied it
	}
}

func TestOpenRefuses(t *testing.T) {
	alter := func(change func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			s, err := bolt.Open(path, nil)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(change))
			require.NoError(t, db.Close())
		}
	}
	for _, test := range []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"a newer format", alter(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 2))
		}), "newer program"},
		{"an unknown format", alter(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 0))
		}), "unknown format"},
		{"no revision", alter(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("rev")) }), "damaged"},
		{"no log", alter(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("log")) }), "no bucket log"},
		{"text", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, make([]byte, 10_000), 0o600))
		}, "not a store"},
		{"a folder that is not there", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
		}, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dir", "store.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			test.make(t, path)
			_, err := bolt.Open(path, nil)
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := bolt.Open(filepath.Join(dir, "store.db"), &bolt.Options{LockTimeout: 1})
	require.ErrorIs(t, err, store.ErrInUse)
}

func TestDamagedRecordIsNamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := open(t, dir)
	put(t, s, "a", "1")
	require.NoError(t, s.Close())
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("kv")).Put([]byte("a"), []byte{0x80}) }))
	require.NoError(t, db.Close())

	s = open(t, dir)
	_, _, err = s.Get(t.Context(), "a", store.ReadOptions{})
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "restore a backup")
	_, err = s.List(t.Context(), "", store.ReadOptions{})
	require.ErrorContains(t, err, "damaged")
	_, err = s.Commit(t.Context(), store.Txn{If: []store.Cond{{Key: "a"}}})
	require.ErrorContains(t, err, "damaged")
}

// TestRetention: history beyond the policy goes by itself; the newest stays.
func TestRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := bolt.Open(path, &bolt.Options{KeepRevisions: 100, KeepFor: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	start := put(t, s, "a", "0")
	var last store.Revision
	for i := range 300 {
		last = put(t, s, "a", fmt.Sprint(i))
	}
	_, err = s.Watch(t.Context(), "", start)
	var compacted *store.CompactedError
	require.ErrorAs(t, err, &compacted)
	require.GreaterOrEqual(t, compacted.Oldest, last-150)
	w, err := s.Watch(t.Context(), "", last-100)
	require.NoError(t, err, "what must be kept")
	w.Close()
}

// TestHistoryFromFile reads more history than is kept in memory.
func TestHistoryFromFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	start := put(t, s, "a", "start")
	var g errgroup.Group
	const writers, each = 16, 100
	for i := range writers {
		g.Go(func() error {
			for n := range each {
				if _, err := s.Commit(context.Background(), store.Txn{Then: []store.Op{{Key: fmt.Sprintf("%d/%d", i, n)}}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	readAll := func(s store.Store) {
		w, err := s.Watch(t.Context(), "", start)
		require.NoError(t, err)
		defer w.Close()
		for rev := start + 1; rev <= start+writers*each; rev++ {
			b, err := w.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, rev, b.Rev)
			require.Len(t, b.Events, 1)
		}
	}
	readAll(s)
	require.NoError(t, s.Close())
	readAll(open(t, dir))
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "saved")
	backup := filepath.Join(dir, "backup")
	require.NoError(t, s.Backup(t.Context(), backup))
	require.ErrorIs(t, s.Backup(t.Context(), backup), fs.ErrExist)
	put(t, s, "a", "lost")
	id, err := s.ID(t.Context())
	require.NoError(t, err)

	require.ErrorIs(t, bolt.Restore(t.Context(), backup, filepath.Join(dir, "store.db")), fs.ErrExist)
	restored := t.TempDir()
	require.NoError(t, bolt.Restore(t.Context(), backup, filepath.Join(restored, "store.db")))
	r := open(t, restored)
	kv, _, err := r.Get(t.Context(), "a", store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, "saved", string(kv.Value))
	again, err := r.ID(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.ID{UUID: id.UUID, Generation: id.Generation + 1}, again)

	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, make([]byte, 10_000), 0o600))
	none := filepath.Join(dir, "none")
	require.ErrorContains(t, bolt.Restore(t.Context(), text, none), "not a store")
	require.NoFileExists(t, none)
	require.NoFileExists(t, none+".part")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, bolt.Restore(ended, backup, none), context.Canceled)
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := bolt.Open(filepath.Join(dir, "store.db"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	ctx := context.Background()
	once := store.Txn{If: []store.Cond{{Key: "a"}}, Then: []store.Op{{Key: "a", Value: []byte("1")}}}
	rev, err := s.Commit(ctx, once)
	fmt.Println(rev, err)
	_, err = s.Commit(ctx, once)
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// conflict on a: expected revision 0, found 1
}
