package etcd_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

// TestLateReaderSeesAll: more happens than a watcher keeps, and history is
// long enough; another reader is not kept waiting.
func TestLateReaderSeesAll(t *testing.T) {
	t.Parallel()
	const writers, each = 16, 200
	c := etcdserver.Run(t, etcdserver.Options{})
	s := open(t, etcd.Config{Endpoints: c.Endpoints()})
	ctx := within(t)
	start, err := s.Commit(ctx, put("start", ""))
	require.NoError(t, err)
	late, err := s.Watch(ctx, "", start)
	require.NoError(t, err)
	defer late.Close()
	prompt, err := s.Watch(ctx, "", start)
	require.NoError(t, err)
	defer prompt.Close()
	var g errgroup.Group
	for i := range writers {
		g.Go(func() error {
			for n := range each {
				_, err := s.Commit(ctx, store.Txn{Then: []store.Op{
					{Key: fmt.Sprintf("%d/a", i), Value: fmt.Append(nil, n)}, {Key: fmt.Sprintf("%d/b", i), Value: fmt.Append(nil, n)},
				}})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	end, err := s.Commit(ctx, put("end", ""))
	require.NoError(t, err)
	want := follow(t, prompt, end)
	require.Len(t, want, writers*each+1)
	require.LessOrEqual(t, etcd.Queued(late), etcd.QueueBound)
	got := follow(t, late, end)
	require.Equal(t, want, got)
	for _, b := range got[:len(got)-1] {
		require.Len(t, b.Events, 2, "revision %d is not whole", b.Rev)
	}
}
