package etcd_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/store/storetest"
)

// pool lends clusters, each to one check at a time: revisions and compaction
// concern a whole cluster.
type pool struct {
	free chan *etcdserver.Cluster
	used atomic.Int64
}

func newPool(t *testing.T, clusters int, o etcdserver.Options) *pool {
	p := &pool{free: make(chan *etcdserver.Cluster, clusters)}
	for range clusters {
		p.free <- etcdserver.Run(t, o)
	}
	return p
}

// fresh returns an empty store that nobody else disturbs until t ends.
func (p *pool) fresh(t *testing.T) store.Store {
	c := <-p.free
	t.Cleanup(func() {
		revokeAll(t, c)
		p.free <- c
	})
	return open(t, etcd.Config{Endpoints: c.Endpoints(), Prefix: fmt.Sprintf("check %d/", p.used.Add(1))})
}

// revokeAll ends the leases that a check left, so that they do not end in the next.
func revokeAll(t *testing.T, c *etcdserver.Cluster) {
	client := connect(t, c)
	ctx := context.Background()
	all, err := client.Leases(ctx)
	require.NoError(t, err)
	for _, l := range all.Leases {
		if _, err := client.Revoke(ctx, l.ID); err != nil {
			t.Logf("lease %d: %v", l.ID, err) // it has ended in between
		}
	}
	require.NoError(t, client.Close())
}

func connect(t *testing.T, c *etcdserver.Cluster) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop()})
	require.NoError(t, err)
	return client
}

func open(t *testing.T, c etcd.Config) *etcd.Store {
	t.Helper()
	s, err := etcd.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, newPool(t, 2, etcdserver.Options{}).fresh)
}

func TestStoreOfThree(t *testing.T) {
	t.Parallel()
	storetest.Run(t, newPool(t, 1, etcdserver.Options{Nodes: 3}).fresh)
}

// TestDurableStore kills the server before each opening but the first.
func TestDurableStore(t *testing.T) {
	t.Parallel()
	servers := make(map[string]*etcdserver.Cluster)
	lock := make(chan struct{}, 1)
	storetest.RunDurable(t, func(t *testing.T, dir string) store.Store {
		lock <- struct{}{}
		c := servers[dir]
		<-lock
		if c == nil {
			c = etcdserver.Run(t, etcdserver.Options{Dir: dir})
			lock <- struct{}{}
			servers[dir] = c
			<-lock
		} else {
			require.NoError(t, c.Restart(0))
		}
		return open(t, etcd.Config{Endpoints: c.Endpoints()})
	})
}
