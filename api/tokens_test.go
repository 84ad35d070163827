package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// replicaOver is an API over a handle of a store, alone with it.
func replicaOver(t *testing.T, s store.Store, change func(*api.Server)) *client.Client {
	t.Helper()
	mirror := &topology.Mirror{Store: s}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	server := &api.Server{Store: s, Topology: mirror, Controller: &controller.Controller{Store: s, Topology: mirror}, Scratch: t.TempDir()}
	if change != nil {
		change(server)
	}
	web := httptest.NewServer(server.Handler(ctx, store.NewID()))
	t.Cleanup(func() {
		cancel()
		web.Close()
		require.NoError(t, <-done)
	})
	return &client.Client{URLs: []string{web.URL}, Token: adminToken}
}

// follow opens the topology's stream as a bearer, and returns what is closed when it ends.
func follow(t *testing.T, c *client.Client, secret string) <-chan struct{} {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URLs[0]+"/v1/topology/watch", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+secret)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // its end is what counts
	}()
	return ended
}

func putAdmin(t *testing.T, s store.Store) {
	t.Helper()
	rec := store.NewRecord(tenant.TokenKey(adminToken), tenant.NewToken(adminToken, tenant.TokenAdmin, "test", time.Now()))
	op, err := rec.Put()
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(t, err)
}

func refused(t *testing.T, err error, code int) {
	t.Helper()
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, e.Text)
}

// TestEndedTokenOnEveryReplica: two replicas, each with its own handle of one
// etcd; a token that one ends is good at none, and streams that it opened end.
func TestEndedTokenOnEveryReplica(t *testing.T) {
	cluster := etcdserver.Run(t, etcdserver.Options{})
	var replicas [2]*client.Client
	for i := range replicas {
		s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: cluster.Endpoints()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		if i == 0 {
			putAdmin(t, s)
		}
		replicas[i] = replicaOver(t, s, nil)
	}
	secret, err := replicas[0].NewToken(t.Context(), tenant.TokenBalancer, "edge")
	require.NoError(t, err)
	ask := func(i int) error {
		as := client.Client{URLs: replicas[i].URLs, Token: secret}
		return as.Do(t.Context(), http.MethodGet, "/v1/topology", nil, nil)
	}
	var streams []<-chan struct{}
	for i := range replicas {
		require.NoError(t, ask(i))
		streams = append(streams, follow(t, replicas[i], secret))
	}
	others := follow(t, replicas[1], adminToken)

	ended, err := replicas[1].EndToken(t.Context(), tenant.IDOfToken(secret))
	require.NoError(t, err)
	require.Equal(t, "edge", ended.Name)
	for i, stream := range streams {
		refused(t, ask(i), http.StatusUnauthorized)
		select {
		case <-stream:
		case <-time.After(10 * time.Second):
			t.Fatalf("the topology still flows from replica %d to whom nobody trusts", i)
		}
	}
	select {
	case <-others:
		t.Fatal("another token's stream ended, too")
	default:
	}
	_, err = replicas[0].EndToken(t.Context(), tenant.IDOfToken(secret))
	refused(t, err, http.StatusNotFound)
}

func TestTokensAreListedAndEnded(t *testing.T) {
	s := mem.New()
	putAdmin(t, s)
	c := replicaOver(t, s, nil)
	var secrets []string
	for _, name := range []string{"edge-b", "edge-a"} {
		secret, err := c.NewToken(t.Context(), tenant.TokenBalancer, name)
		require.NoError(t, err)
		secrets = append(secrets, secret)
	}
	list, err := c.Tokens(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 3)
	var names []string
	for _, k := range list {
		names = append(names, string(k.Kind)+" "+k.Name)
	}
	require.Equal(t, []string{"admin test", "balancer edge-b", "balancer edge-a"}, names, "the oldest first")
	require.Equal(t, tenant.IDOfToken(secrets[1]), list[2].ID)
	require.WithinDuration(t, time.Now(), list[2].Created, time.Minute)

	var raw []map[string]any
	require.NoError(t, c.Do(t.Context(), http.MethodGet, "/v1/tokens", nil, &raw))
	text, err := json.Marshal(raw)
	require.NoError(t, err)
	for _, secret := range secrets {
		require.NotContains(t, string(text), secret)
	}
	for field := range raw[0] {
		require.Contains(t, []string{"id", "kind", "name", "created"}, field, "nothing that a secret is checked with")
	}

	for _, id := range []string{"nosuch", "..", secrets[0], string(list[0].ID) + "0"} {
		_, err := c.EndToken(t.Context(), tenant.TokenID(id))
		refused(t, err, map[bool]int{true: http.StatusNotFound, false: http.StatusBadRequest}[id == ".."]) // ".." is another path
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.NotContains(t, e.Text, secrets[0])
	}
	edge := client.Client{URLs: c.URLs, Token: secrets[0]}
	_, err = edge.Tokens(t.Context())
	refused(t, err, http.StatusForbidden)
	_, err = edge.EndToken(t.Context(), list[0].ID)
	refused(t, err, http.StatusForbidden)
	_, err = c.NewToken(t.Context(), tenant.TokenAdmin, "admin")
	refused(t, err, http.StatusBadRequest)
	_, err = c.NewToken(t.Context(), tenant.TokenBalancer, "admin")
	require.NoError(t, err, "only administrators' is taken back at a start")
}

// awayStore is a store that can be away for whoever reads one key.
type awayStore struct {
	store.Store
	away  atomic.Bool
	tried atomic.Int64
}

func (a *awayStore) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	if a.away.Load() && len(prefix) > len(tenant.TokenPrefix) && prefix[:len(tenant.TokenPrefix)] == tenant.TokenPrefix {
		a.tried.Add(1)
		return store.Page{}, context.DeadlineExceeded
	}
	return a.Store.List(ctx, prefix, o)
}

// TestStreamsOutliveTheStore: who cannot be asked about is trusted as before.
func TestStreamsOutliveTheStore(t *testing.T) {
	s := &awayStore{Store: mem.New()}
	putAdmin(t, s)
	c := replicaOver(t, s, nil)
	secret, err := c.NewToken(t.Context(), tenant.TokenBalancer, "edge")
	require.NoError(t, err)
	s.away.Store(true)
	stream := follow(t, c, secret)
	require.Eventually(t, func() bool { return s.tried.Load() >= 2 }, 20*time.Second, 10*time.Millisecond)
	select {
	case <-stream:
		t.Fatal("the stream ended with the store away")
	default:
	}
	_, err = c.EndToken(t.Context(), tenant.IDOfToken(secret))
	require.NoError(t, err)
	s.away.Store(false)
	select {
	case <-stream:
	case <-time.After(20 * time.Second):
		t.Fatal("the store is back, and the stream of an ended token goes on")
	}
}

// TestStreamsOfReplicas: their token has no record that could end.
func TestStreamsOfReplicas(t *testing.T) {
	s := mem.New()
	putAdmin(t, s)
	c := replicaOver(t, s, func(a *api.Server) { a.ReplicaToken = "replicas-only" })
	secret, err := c.NewToken(t.Context(), tenant.TokenBalancer, "edge")
	require.NoError(t, err)
	replica, edge := follow(t, c, "replicas-only"), follow(t, c, secret)
	_, err = c.EndToken(t.Context(), tenant.IDOfToken(secret))
	require.NoError(t, err)
	select {
	case <-edge:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream of an ended token goes on")
	}
	select {
	case <-replica:
		t.Fatal("the replicas' own token has no record, and is good")
	default:
	}
}
