package agent_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/topology"
)

// secure makes the control plane one that has an authority and speaks TLS.
func secure(t *testing.T, c *controlPlane) *ca.Authority {
	a, err := ca.New("test", time.Now())
	require.NoError(t, err)
	server, err := a.Server([]string{"127.0.0.1"}, ca.Identity{Kind: ca.Replica, Name: "r1"}, time.Now())
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(c.srv.Config.Handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS13}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	plain := c.srv
	c.srv, c.platform = s, a
	t.Cleanup(plain.Close)
	return a
}

// dialer is how somebody reaches members.
func dialer(t *testing.T, by *ca.Authority, trust *ca.Authority, kind string, now time.Time) *tls.Config {
	config := &tls.Config{RootCAs: trust.Pool(), ServerName: ca.MemberName(testMember), MinVersion: tls.VersionTLS13}
	if kind != "" {
		c, err := by.Server(nil, ca.Identity{Kind: kind, Name: "x1"}, now)
		require.NoError(t, err)
		config.Certificates = []tls.Certificate{c}
	}
	return config
}

// getTLS asks a member once.
func getTLS(config *tls.Config, port int) (string, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	resp, err := client.Get("https://127.0.0.1:" + strconv.Itoa(port))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestMutualTLSInFrontOfTheRuntime(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	a := secure(t, c)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	dir := t.TempDir()
	first := start(t, c, dir)
	c.awaitServing(ref)
	serving := c.lastStatus().Serving
	require.True(t, serving.TLS)
	port := serving.Ports["http"]

	now := time.Now()
	old, err := ca.New("test", now.Add(-40*24*time.Hour))
	require.NoError(t, err)
	foreign, err := ca.New("test", now)
	require.NoError(t, err)
	wrongName := dialer(t, a, a, ca.Balancer, now)
	wrongName.ServerName = ca.MemberName("m2")
	tests := []struct {
		name   string
		config *tls.Config
		says   string // empty: it gets in
	}{
		{"a balancer", dialer(t, a, a, ca.Balancer, now), ""},
		{"a replica", dialer(t, a, a, ca.Replica, now), ""},
		{"a member", dialer(t, a, a, ca.Member, now), "bad certificate"},
		{"nobody", dialer(t, a, a, "", now), "certificate required"},
		{"a balancer of another authority", dialer(t, foreign, a, ca.Balancer, now), "unknown certificate authority"},
		{"one that has expired", dialer(t, old, a, ca.Balancer, now.Add(-35*24*time.Hour)), "remote error"},
		{"one that wants another member", wrongName, "not m2.members.stratos"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := getTLS(tt.config, port)
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "one", text)
		})
	}
	_, err = get("http://127.0.0.1:" + strconv.Itoa(port))
	require.Error(t, err, "in the clear")

	// The runtime's process is started again behind the same port.
	balancerTLS := dialer(t, a, a, ca.Balancer, now)
	require.NoError(t, kill(t, dir))
	require.Eventually(t, func() bool { s, err := getTLS(balancerTLS, port); return err == nil && s == "one" }, patience, 5*time.Millisecond)

	// A switch: the old front stays until the record lists its runtime no more.
	c.heed()
	two := c.assign("r2", appFiles("two", ""), appPlan(t))
	c.awaitServing(two)
	s, err := getTLS(balancerTLS, port)
	require.NoError(t, err)
	require.Equal(t, "one", s)
	c.heed()
	c.update(func(m *topology.Member) { m.Retiring = nil })
	require.Eventually(t, func() bool { _, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); return err != nil }, patience, 5*time.Millisecond)

	// An agent that starts again has the same key, and asks for nothing secret anew.
	key, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	require.NoError(t, first.stop())
	c.mu.Lock()
	c.statuses = nil
	c.mu.Unlock()
	start(t, c, dir)
	c.awaitServing(two)
	again, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	require.Equal(t, key, again)
	s, err = getTLS(balancerTLS, c.lastStatus().Serving.Ports["http"])
	require.NoError(t, err)
	require.Equal(t, "two", s)
}

// kill kills the processes of the runtimes in a folder.
func kill(t *testing.T, dir string) error {
	for _, pid := range marked(t, dir) {
		p, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		if err := p.Kill(); err != nil {
			return err
		}
	}
	return nil
}

// The certificate that the join brought is of no use: another one is asked for.
func TestCertificateIsAskedFor(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	a := secure(t, c)
	c.mute = true
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	c.awaitServing(ref)
	config := dialer(t, a, a, ca.Balancer, time.Now())
	require.Eventually(t, func() bool {
		s, err := getTLS(config, c.lastStatus().Serving.Ports["http"])
		return err == nil && s == "one"
	}, patience, 5*time.Millisecond)
}

// notes is a log that is read by a test.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func TestProxyReachesAgents(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	a := secure(t, c)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	start(t, c, t.TempDir())
	c.awaitServing(ref)
	c.heed()
	c.update(func(m *topology.Member) { m.State, m.Address = topology.Active, "127.0.0.1" })
	view, err := c.latest.Next(t.Context(), 0)
	require.NoError(t, err)
	table := balancer.Routes(view)
	table.Routes = []balancer.Route{{Host: "shop.example", Port: "http", Protocol: "http", Cluster: testCluster}}
	table.Clusters[testCluster].Vacant, table.Clusters[testCluster].Targets[0].Draining = false, false
	require.True(t, table.Clusters[testCluster].Targets[0].TLS)

	good, err := a.Server(nil, ca.Identity{Kind: ca.Balancer, Name: "b1"}, time.Now())
	require.NoError(t, err)
	member, err := a.Server(nil, ca.Identity{Kind: ca.Member, Name: "m2"}, time.Now())
	require.NoError(t, err)
	tests := []struct {
		name  string
		roots *x509.CertPool
		with  tls.Certificate
		code  int
		says  string
	}{
		{"with its certificate", a.Pool(), good, 200, ""},
		{"with a member's", a.Pool(), member, 502, "refuses this balancer's certificate"},
		{"without the authority", x509.NewCertPool(), good, 502, "unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			said := &notes{}
			p := &proxy.Proxy{
				QueueTimeout: time.Second,
				TLS:          &tls.Config{RootCAs: tt.roots, Certificates: []tls.Certificate{tt.with}},
				Log:          slog.New(slog.NewTextHandler(said, nil)),
			}
			defer p.Close()
			require.NoError(t, p.Apply(t.Context(), table))
			for range 20 {
				for _, method := range []string{"GET", "POST"} {
					w := httptest.NewRecorder()
					p.ServeHTTP(w, httptest.NewRequest(method, "http://shop.example/", strings.NewReader("body")))
					require.Equal(t, tt.code, w.Code, w.Body.String())
				}
			}
			require.Contains(t, said.String(), tt.says)
			if tt.says == "" {
				require.Empty(t, said.String())
			}
		})
	}
}

func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			c.skew = by // before the first signed request
			ref := c.assign("r1", appFiles("one", ""), appPlan(t))
			start(t, c, t.TempDir())
			c.awaitServing(ref)
			c.mu.Lock()
			c.skew = -by // and while it serves
			c.mu.Unlock()
			two := c.assign("r2", appFiles("two", ""), appPlan(t))
			c.awaitServing(two)
			c.mu.Lock()
			defer c.mu.Unlock()
			require.Positive(t, c.skewed)
			require.Less(t, c.skewed, 20, "the clock is learnt, not asked for again and again")
		})
	}
}

// Replicas that are cut off, or ill, are passed over in time.
func TestReplicasThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	require.NoError(t, err)
	defer hole.Close()
	ill := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "ill", http.StatusServiceUnavailable) }))
	defer ill.Close()
	c := newControlPlane(t)
	ref := c.assign("r1", appFiles("one", ""), appPlan(t))
	c.before = []string{"http://" + hole.Addr().String(), ill.URL}
	start(t, c, t.TempDir())
	c.awaitServing(ref)
	require.Equal(t, wire.PhaseReady, c.lastStatus().Phase)
}
