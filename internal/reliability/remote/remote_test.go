package remote_test

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/internal/reliability/remote"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

var _ linear.Store = (*remote.Store)(nil)

func dial(t *testing.T) (*remote.Store, store.Store) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := mem.New()
	served := make(chan error, 1)
	go func() { served <- remote.Serve(l, s) }()
	c, err := remote.Dial(path)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-served, net.ErrClosed)
		require.NoError(t, s.Close())
	})
	return c, s
}

func TestAnswersAreThoseOfTheStore(t *testing.T) {
	c, s := dial(t)
	defer func() { require.NoError(t, c.Close()) }()
	_, _, err := c.Get(t.Context(), "a", store.ReadOptions{})
	require.ErrorIs(t, err, store.ErrNotFound)
	put := store.Txn{If: []store.Cond{{Key: "a", Kind: store.CondCreate}}, Then: []store.Op{{Key: "a", Value: []byte("1")}}}
	rev, err := c.Commit(t.Context(), put)
	require.NoError(t, err)

	want, at, err := s.Get(t.Context(), "a", store.ReadOptions{})
	require.NoError(t, err)
	kv, got, err := c.Get(t.Context(), "a", store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, want, kv)
	require.Equal(t, at, got)
	page, err := c.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, store.Page{KVs: []store.KV{want}, Rev: rev}, page)

	_, wanted := s.Commit(t.Context(), put)
	_, err = c.Commit(t.Context(), put)
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, wanted, err)
	_, err = c.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: ""}}})
	require.ErrorContains(t, err, store.ErrInvalid.Error())
}

func TestAClosedConnectionSentNothing(t *testing.T) {
	c, _ := dial(t)
	require.NoError(t, c.Close())
	_, err := c.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "a"}}})
	require.Error(t, err)
	require.False(t, errors.As(err, new(*store.UnknownError)))
}

func TestAnAnswerThatDoesNotComeIsUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	c, err := remote.Dial(path)
	require.NoError(t, err)
	defer c.Close()
	hung, err := l.Accept()
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := c.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "a"}}})
		done <- err
	}()
	_, err = hung.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, hung.Close())
	require.ErrorAs(t, <-done, new(*store.UnknownError))
}
