package stratos_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// tables is a backend that remembers what it was given.
type tables struct {
	mu  sync.Mutex
	all []*balancer.Table
}

func (t *tables) Apply(_ context.Context, table *balancer.Table) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, table)
	return nil
}

// clusters are those of the last table.
func (t *tables) clusters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return 0
	}
	return len(t.all[len(t.all)-1].Clusters)
}

// publicControl is as much of a control plane behind TLS as a balancer follows.
type publicControl struct {
	t     *testing.T
	store store.Store
	web   *httptest.Server

	mu    sync.Mutex
	shown tls.Certificate
}

func newPublicControl(t *testing.T, shown tls.Certificate) *publicControl {
	t.Helper()
	c := &publicControl{t: t, store: mem.New(), shown: shown}
	ctx, stop := context.WithCancel(context.Background())
	mirror := &topology.Mirror{Store: c.store}
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	topo := &stream.Server{Source: mirror, Store: "store"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+stream.SnapshotPath, func(w http.ResponseWriter, r *http.Request) { topo.Snapshot(w, r, stream.Scope{}) })
	mux.HandleFunc("GET "+stream.WatchPath, func(w http.ResponseWriter, r *http.Request) { topo.Watch(ctx, w, r, stream.Scope{}) })
	c.web = httptest.NewUnstartedServer(mux)
	c.web.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.shown}}, nil
	}}
	c.web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	c.web.StartTLS()
	t.Cleanup(func() {
		stop()
		c.web.CloseClientConnections()
		c.web.Close()
		require.NoError(t, <-done)
		require.NoError(t, c.store.Close())
	})
	return c
}

// show shows another certificate from now on, to everybody.
func (c *publicControl) show(cert tls.Certificate) {
	c.mu.Lock()
	c.shown = cert
	c.mu.Unlock()
	c.web.CloseClientConnections()
}

func (c *publicControl) addCluster(id topology.ClusterID) {
	c.t.Helper()
	rec := store.NewRecord(topology.ClusterKey(id), topology.Cluster{ID: id})
	op, err := rec.Put()
	require.NoError(c.t, err)
	_, err = c.store.Commit(c.t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(c.t, err)
}

// TestControlPlaneWithABadCertificate: a balancer says what is wrong and keeps
// the routes it has, and follows again when that is mended.
func TestControlPlaneWithABadCertificate(t *testing.T) {
	authority, err := ca.New("test", time.Now().Add(-100*24*time.Hour))
	require.NoError(t, err)
	stranger, err := ca.New("test", time.Now())
	require.NoError(t, err)
	issue := func(a *ca.Authority, name string, at time.Time) tls.Certificate {
		c, err := a.Server([]string{name}, ca.Identity{Kind: ca.Replica, Name: "r"}, at)
		require.NoError(t, err)
		return c
	}
	good := issue(authority, "127.0.0.1", time.Now())
	for _, c := range []struct {
		name string
		bad  tls.Certificate
		says string
	}{
		{"of another authority", issue(stranger, "127.0.0.1", time.Now()), "unknown authority"},
		{"expired", issue(authority, "127.0.0.1", time.Now().Add(-90*24*time.Hour)), "expired"},
		{"for another name", issue(authority, "127.0.0.2", time.Now()), "valid for 127.0.0.2, not 127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			control := newPublicControl(t, good)
			control.addCluster("one")
			var log syncBuffer
			backend := &tables{}
			b := stratos.Balancer{
				Control: []string{control.web.URL}, Token: "a secret token", CA: authority.CertPEM(), Dir: filepath.Join(t.TempDir(), "balancer"),
				Backend: backend, Log: slog.New(slog.NewTextHandler(&log, nil)),
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- b.Run(ctx) }()
			require.Eventually(t, func() bool { return backend.clusters() == 1 }, patience, 10*time.Millisecond, "%s", &log)

			control.show(c.bad)
			require.Eventually(t, func() bool { return strings.Contains(log.String(), c.says) }, patience, 10*time.Millisecond, "%s", &log)
			control.addCluster("two")
			require.Equal(t, 1, backend.clusters(), "the old routes stay")
			control.show(good)
			require.Eventually(t, func() bool { return backend.clusters() == 2 }, patience, 10*time.Millisecond)
			stop()
			require.NoError(t, <-done)
			require.NotContains(t, log.String(), b.Token)

			// A start with it goes on with the routes on disk.
			control.show(c.bad)
			again := &tables{}
			b.Backend = again
			ctx, stop = context.WithCancel(t.Context())
			defer stop()
			go func() { done <- b.Run(ctx) }()
			require.Eventually(t, func() bool { return again.clusters() == 2 }, patience, 10*time.Millisecond)
			stop()
			require.NoError(t, <-done)
		})
	}
}

// TestBadBalancer: a balancer that cannot work says so at once.
func TestBadBalancer(t *testing.T) {
	authority, err := ca.New("test", time.Now())
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		change func(*stratos.Balancer)
		says   string
	}{
		{"no control plane", func(b *stratos.Balancer) { b.Control = nil }, "no control plane"},
		{"no address", func(b *stratos.Balancer) { b.Control = []string{"10.0.0.1:8080"} }, "want its address"},
		{"a password in the address", func(b *stratos.Balancer) { b.Control = []string{"https://a:secret@10.0.0.1:8080"} }, "want its address"},
		{"plain off loopback", func(b *stratos.Balancer) { b.Control = []string{"http://10.0.0.1:8080"} }, "off loopback it speaks https"},
		{"no token", func(b *stratos.Balancer) { b.Token = "" }, "no token"},
		{"no CA", func(b *stratos.Balancer) { b.CA = nil }, "no CA"},
		{"a CA that is none", func(b *stratos.Balancer) { b.CA = []byte("hello") }, "the control plane's CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := stratos.Balancer{
				Control: []string{"https://10.0.0.1:8080"}, Token: "t", CA: authority.CertPEM(),
				Dir: filepath.Join(t.TempDir(), "balancer"), Backend: &tables{},
			}
			c.change(&b)
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it runs"))
			defer cancel()
			err := b.Run(ctx)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}
