package etcd_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

// TestAuthentication: a user who may use one prefix. A server that restarts
// forgets its tokens, and nobody notices.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{})
	ctx := within(t)
	admin := connect(t, c)
	defer func() { require.NoError(t, admin.Close()) }()
	_, err := admin.UserAdd(ctx, "root", "r")
	require.NoError(t, err)
	_, err = admin.UserGrantRole(ctx, "root", "root")
	require.NoError(t, err)
	_, err = admin.UserAdd(ctx, "stratos", "secret")
	require.NoError(t, err)
	_, err = admin.RoleAdd(ctx, "ours")
	require.NoError(t, err)
	_, err = admin.RoleGrantPermission(ctx, "ours", "stratos/", clientv3.GetPrefixRangeEnd("stratos/"), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	_, err = admin.UserGrantRole(ctx, "stratos", "ours")
	require.NoError(t, err)
	_, err = admin.AuthEnable(ctx)
	require.NoError(t, err)

	good := etcd.Config{Endpoints: c.Endpoints(), Username: "stratos", Password: "secret"}
	bad := good
	bad.Password = "guess"
	_, err = etcd.Open(ctx, bad)
	require.ErrorContains(t, err, "authentication failed")
	require.NotContains(t, err.Error(), "guess")
	elsewhere := good
	elsewhere.Prefix = "other/"
	_, err = etcd.Open(ctx, elsewhere)
	require.ErrorContains(t, err, "permission denied")

	quiet := open(t, good) // nothing but its next commit renews its token
	s := open(t, good)
	lease, err := s.Grant(ctx, 5*time.Second)
	require.NoError(t, err)
	rev, err := s.Commit(ctx, store.Txn{Then: []store.Op{{Key: "a", Value: []byte("1"), Lease: lease.ID()}}})
	require.NoError(t, err)
	w, err := s.Watch(ctx, "", rev)
	require.NoError(t, err)
	defer w.Close()

	c.Kill(0)
	require.NoError(t, c.Restart(0))
	_, err = quiet.Commit(ctx, put("b", "0"))
	require.NoError(t, err)
	second, err := s.Commit(ctx, put("b", "1"))
	require.NoError(t, err)
	_, _, err = s.Get(ctx, "a", store.ReadOptions{})
	require.NoError(t, err)
	require.Len(t, follow(t, w, second), 2)
	require.NoError(t, lease.Revoke(ctx))
	require.ErrorContains(t, s.Compact(ctx, second), "permission denied", "only root may")
}
