package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/gostratos/stratos/store/internal/retention"
)

// A connection that is silent is asked for a sign of life; a server that
// stands still is noticed after their sum. Servers refuse to be asked more
// often than every 5 s.
const (
	pingEvery   = 6 * time.Second
	pingTimeout = 3 * time.Second
	// reconnectEvery is the longest pause before a server that was away is
	// dialled again; gRPC alone would let it grow to two minutes.
	reconnectEvery = 2 * time.Second
)

// connect dials the cluster and looks at its servers. The store has no ID yet.
func connect(ctx context.Context, c Config) (*Store, survey, error) {
	c, err := c.complete()
	if err != nil {
		return nil, survey{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, survey{}, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: c.TLS, Username: c.Username, Password: c.Password,
		DialTimeout: c.DialTimeout, DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingTimeout, PermitWithoutStream: true,
		// The client's own retries do not ask whether a transaction was
		// applied: a time-out that the server reports is sent again.
		MaxUnaryRetries: 1,
		DialOptions: []grpc.DialOption{
			grpc.WithStatsHandler(sentHandler{}),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectEvery},
				MinConnectTimeout: c.DialTimeout,
			}),
		},
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, survey{}, fmt.Errorf("etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	s := &Store{
		client: client, records: c.Prefix + "records/", idKey: c.Prefix + "id", signed: c.Username != "",
		keep: retention.Policy{Revisions: c.KeepRevisions, For: c.KeepFor}, log: c.Log,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	bounded, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	found, err := look(bounded, client, c.Endpoints)
	if err != nil {
		return nil, survey{}, closing(s, fmt.Errorf("etcd, asked %s: %w", c.security(), err))
	}
	return s, found, nil
}

// survey is what the servers say about their cluster.
type survey struct {
	cluster uint64
	// lead is revision minus raft index. Every revision takes an entry of the
	// raft log, and not every entry makes a revision: it never grows, except
	// when a snapshot is restored, as the log then begins anew.
	lead int64
}

// look asks all endpoints; one answer is enough, but no answer may be wrong.
func look(ctx context.Context, client *clientv3.Client, endpoints []string) (survey, error) {
	answers := make([]*pb.StatusResponse, len(endpoints))
	errs := make([]error, len(endpoints))
	var wg sync.WaitGroup
	for i, e := range endpoints {
		wg.Go(func() { answers[i], errs[i] = ask(ctx, client, e) })
	}
	wg.Wait()
	var found *survey
	for i, a := range answers {
		if a == nil {
			continue
		}
		if err := checkVersion(endpoints[i], a.Version); err != nil {
			return survey{}, err
		}
		one := survey{cluster: a.Header.ClusterId, lead: a.Header.Revision - int64(a.RaftAppliedIndex)}
		switch {
		case found == nil:
			found = &one
		case found.cluster != one.cluster:
			return survey{}, fmt.Errorf("the endpoints %s are of different clusters", strings.Join(endpoints, ", "))
		default:
			found.lead = max(found.lead, one.lead)
		}
	}
	if found == nil {
		return survey{}, fmt.Errorf("no endpoint answers: %w", errors.Join(errs...))
	}
	return *found, nil
}

// ask asks one server, and fails at once with the reason if there is no connection.
func ask(ctx context.Context, client *clientv3.Client, endpoint string) (*pb.StatusResponse, error) {
	conn, err := client.Dial(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	a, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err := errors.Join(err, conn.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return a, nil
}
