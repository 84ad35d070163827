package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/topology"
)

const (
	shop     = topology.ClusterID("acme.shop")
	shopHost = "shop.example"
)

// at is a target at an address; its member has the name of its address.
func at(address string) balancer.Target {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return balancer.Target{
		TargetID: balancer.TargetID{Member: topology.MemberID(address), Address: address},
		Host:     host, Ports: map[string]int{"http": n},
	}
}

func draining(t balancer.Target) balancer.Target {
	t.Draining = true
	return t
}

// shopTable routes the shop's host to the targets.
func shopTable(targets ...balancer.Target) *balancer.Table {
	return &balancer.Table{
		Routes:   []balancer.Route{{Host: shopHost, Port: "http", Protocol: "http", Cluster: shop}},
		Clusters: map[topology.ClusterID]*balancer.Cluster{shop: {ID: shop, Targets: targets}},
	}
}

// serve starts a member and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// front starts a server for the proxy and applies a table of these targets.
func front(t *testing.T, p *proxy.Proxy, targets ...balancer.Target) *httptest.Server {
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(complaints{t}, "", 0)
	s.Start()
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, p.Close())
	})
	require.NoError(t, p.Apply(t.Context(), shopTable(targets...)))
	return s
}

// complaints fails the test for what a server complains about.
type complaints struct{ t *testing.T }

func (c complaints) Write(p []byte) (int, error) {
	c.t.Errorf("the server says: %s", p)
	return len(p), nil
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	r.Host = shopHost
	return r
}

// do sends a request and returns the answer with its body read.
func do(t *testing.T, r *http.Request) (*http.Response, string) {
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(r)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res, string(body)
}

// soon waits for a condition that something else is about to make true.
func soon(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 2*time.Millisecond, what)
}

func idle(p *proxy.Proxy) func() bool {
	return func() bool { return p.Stats()[shop].InFlight == 0 }
}

// network is one of pipes, for tests in a bubble of synthetic time.
type network struct {
	mu    sync.Mutex
	hosts map[string]chan net.Conn
	dials map[string]int
}

func newNetwork() *network {
	return &network{hosts: map[string]chan net.Conn{}, dials: map[string]int{}}
}

// dial connects to an address, or is refused.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials[address]++
	host := n.hosts[address]
	n.mu.Unlock()
	if host == nil {
		return nil, fmt.Errorf("dial %s: refused", address)
	}
	here, there := net.Pipe()
	select {
	case host <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) dialled(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

// serve runs a server at an address until the returned function stops it.
func (n *network) serve(address string, s *http.Server) (stop func()) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	n.hosts[address] = l.conns
	n.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	return func() {
		n.mu.Lock()
		delete(n.hosts, address)
		n.mu.Unlock()
		_ = s.Close()
		wg.Wait()
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// ask sends a GET through the handler, without a network in between.
func ask(ctx context.Context, h http.Handler, method, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, url, strings.NewReader("")))
	return w
}
