package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
)

func boltStore(t *testing.T) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "stratos.db"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	putAdmin(t, s)
	return s
}

func TestBackup(t *testing.T) {
	s, scratch := boltStore(t), t.TempDir()
	id, err := s.ID(t.Context())
	require.NoError(t, err)
	left := filepath.Join(scratch, "stratos-backup-"+id.UUID)
	require.NoError(t, os.Mkdir(left, 0o700)) // by one that was killed
	require.NoError(t, os.WriteFile(filepath.Join(left, "records.db"), []byte("left"), 0o600))
	c := replicaOver(t, s, func(a *api.Server) { a.Scratch = scratch })

	b, err := c.Backup(t.Context())
	require.NoError(t, err)
	require.Equal(t, id.String(), b.Store)
	in, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, in, "the copy has no name while it is sent")
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.Len(t, got, int(b.Size))

	path := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, os.WriteFile(path, got, 0o600))
	r := filepath.Join(t.TempDir(), "restored")
	require.NoError(t, bolt.Restore(t.Context(), path, r))
	restored, err := bolt.Open(r, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, restored.Close()) }()
	_, _, err = restored.Get(t.Context(), tenant.TokenKey(adminToken), store.ReadOptions{})
	require.NoError(t, err)
}

// TestWhoMayBackUp: nobody but an administrator, not even another replica.
func TestWhoMayBackUp(t *testing.T) {
	c := replicaOver(t, boltStore(t), func(a *api.Server) { a.ReplicaToken = "replicas-only" })
	edge, err := c.NewToken(t.Context(), tenant.TokenBalancer, "edge")
	require.NoError(t, err)
	for _, k := range []struct {
		name, token string
		want        int
	}{
		{"nobody", "", http.StatusUnauthorized},
		{"a wrong token", "wrong", http.StatusUnauthorized},
		{"a balancer", edge, http.StatusForbidden},
		{"a replica", "replicas-only", http.StatusForbidden},
	} {
		t.Run(k.name, func(t *testing.T) {
			as := client.Client{URLs: c.URLs, Token: k.token}
			_, err := as.Backup(t.Context())
			refused(t, err, k.want)
		})
	}
	b := newBed(t)
	code, _ := b.do("GET", "/v1/backup", "", agentOf("member-of-a"))
	require.Equal(t, http.StatusUnauthorized, code, "an agent")
}

func TestAStoreThatCannotCopyItself(t *testing.T) {
	s := mem.New()
	putAdmin(t, s)
	_, err := replicaOver(t, s, nil).Backup(t.Context())
	refused(t, err, http.StatusNotImplemented)
	require.ErrorContains(t, err, "etcdctl snapshot save")
}

// slowCopy is a store whose copy is made when the test says so, or fails.
type slowCopy struct {
	store.Store
	began  chan struct{}
	copies chan error
	size   int
}

func (s *slowCopy) Backup(_ context.Context, path string) error {
	s.began <- struct{}{}
	if err := <-s.copies; err != nil {
		return err
	}
	return os.WriteFile(path, bytes.Repeat([]byte("x"), s.size), 0o600)
}

func newSlowCopy(t *testing.T) *slowCopy {
	s := &slowCopy{Store: mem.New(), began: make(chan struct{}, 1), copies: make(chan error, 1), size: 1 << 20}
	putAdmin(t, s)
	return s
}

func TestOneBackupAtATime(t *testing.T) {
	s := newSlowCopy(t)
	c := replicaOver(t, s, nil)
	first := make(chan error, 1)
	go func() {
		b, err := c.Backup(t.Context())
		if err == nil {
			_, err = io.Copy(io.Discard, b)
			err = errors.Join(err, b.Close())
		}
		first <- err
	}()
	<-s.began
	_, err := c.Backup(t.Context())
	refused(t, err, http.StatusConflict)
	s.copies <- nil
	require.NoError(t, <-first)

	s.copies <- fmt.Errorf("write x: %w", store.ErrFull)
	_, err = c.Backup(t.Context())
	refused(t, err, http.StatusInsufficientStorage)
	require.ErrorContains(t, err, "no space left")
	<-s.began
	s.copies <- nil
	b, err := c.Backup(t.Context())
	require.NoError(t, err, "one that failed is not in the way of the next")
	require.NoError(t, b.Close())
}
