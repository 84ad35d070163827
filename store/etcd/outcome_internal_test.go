package etcd

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gostratos/stratos/store"
)

// failing speaks etcd's protocol and gives one answer to every transaction: a
// real server gives some of them too seldom for a test.
type failing struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	version string
	err     error
	txns    atomic.Int64
}

func (f *failing) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: 1}, Version: f.version, RaftAppliedIndex: 1}, nil
}

func (f *failing) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	f.txns.Add(1)
	return nil, f.err
}

func (f *failing) serve(t *testing.T) Config {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	pb.RegisterKVServer(server, f)
	pb.RegisterMaintenanceServer(server, f)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-ended)
	})
	return Config{Endpoints: []string{l.Addr().String()}}
}

// TestOutcomeOfACommit: a transaction goes out once, whatever a server says,
// and its failure is called sure only if it is.
func TestOutcomeOfACommit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		err     error
		want    error // nil: no particular one
		unknown bool
	}{
		{"the server's deadline", status.Error(codes.DeadlineExceeded, "late"), nil, true},
		{"the server gave up", status.Error(codes.Canceled, "stream reset"), nil, true},
		{"the connection is lost", status.Error(codes.Unavailable, "transport is closing"), nil, true},
		{"the server is broken", status.Error(codes.Internal, "oops"), nil, true},
		{"no majority", rpctypes.ErrGRPCTimeout, nil, true},
		{"the leader failed", rpctypes.ErrGRPCTimeoutDueToLeaderFail, nil, true},
		{"the leader changed", rpctypes.ErrGRPCLeaderChanged, nil, true},
		{"no leader", rpctypes.ErrGRPCNoLeader, nil, true},
		{"the server stops", rpctypes.ErrGRPCStopped, nil, true},
		{"no space", rpctypes.ErrGRPCNoSpace, store.ErrFull, true},
		{"too large", rpctypes.ErrGRPCRequestTooLarge, store.ErrTooLarge, false},
		{"the lease is gone", rpctypes.ErrGRPCLeaseNotFound, store.ErrLeaseGone, false},
		{"a key twice", rpctypes.ErrGRPCDuplicateKey, store.ErrInvalid, false},
		{"not allowed", rpctypes.ErrGRPCPermissionDenied, rpctypes.ErrPermissionDenied, false},
		{"overloaded", rpctypes.ErrGRPCRequestTooManyRequests, rpctypes.ErrTooManyRequests, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &failing{version: OldestServer, err: test.err}
			s, _, err := connect(t.Context(), f.serve(t))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "a"}}})
			require.Error(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			var unknown *store.UnknownError
			require.Equal(t, test.unknown, errors.As(err, &unknown), "%v", err)
			require.EqualValues(t, 1, f.txns.Load(), "sent again")
		})
	}
}

func TestOldServerIsRefused(t *testing.T) {
	_, err := Open(t.Context(), (&failing{version: "3.4.23"}).serve(t))
	require.ErrorContains(t, err, "runs version 3.4.23")
	require.ErrorContains(t, err, OldestServer)
}
