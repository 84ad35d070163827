package proxy_test

import (
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/topology"
)

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func authority(t *testing.T) *ca.Authority {
	a, err := ca.New("p", time.Now())
	require.NoError(t, err)
	return a
}

// serveTLS starts a member that takes mutual TLS, proves to be whom server
// names, and returns a target for it.
func serveTLS(t *testing.T, a *ca.Authority, id string, server tls.Certificate, h http.HandlerFunc) balancer.Target {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(), MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that are to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	target := at(s.Listener.Addr().String())
	target.Member, target.TLS = topology.MemberID(id), true
	return target
}

// refuseTLS starts a member that trusts nobody but a, and lets whom it refuses
// hear it, as an agent does.
func refuseTLS(t *testing.T, a *ca.Authority, id string, server tls.Certificate) balancer.Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				config := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(), SessionTicketsDisabled: true}
				if tls.Server(c, config).Handshake() != nil && c.(*net.TCPConn).CloseWrite() == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			})
		}
	})
	target := at(l.Addr().String())
	target.Member, target.TLS = topology.MemberID(id), true
	return target
}

func certificate(t *testing.T, a *ca.Authority, kind, name string, now time.Time) tls.Certificate {
	c, err := a.Server(nil, ca.Identity{Kind: kind, Name: name}, now)
	require.NoError(t, err)
	return c
}

func TestMembersOverTLS(t *testing.T) {
	a, foreign, now := authority(t), authority(t), time.Now()
	old, err := ca.New("p", now.Add(-40*24*time.Hour))
	require.NoError(t, err)
	mine := &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{certificate(t, a, ca.Balancer, "b1", now)}}
	for _, test := range []struct {
		name   string
		tls    *tls.Config
		server tls.Certificate
		code   int
		says   string
	}{
		{"the member", mine, certificate(t, a, ca.Member, "m1", now), 200, ""},
		{"another member", mine, certificate(t, a, ca.Member, "m2", now), 502, "not m1.members.stratos"},
		{"one of another authority", mine, certificate(t, foreign, ca.Member, "m1", now), 502, "unknown authority"},
		{"one that has expired", mine, certificate(t, old, ca.Member, "m1", now.Add(-35*24*time.Hour)), 502, "certificate"},
		{"a balancer that was given no TLS", nil, certificate(t, a, ca.Member, "m1", now), 502, "set Proxy.TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			said := &lines{}
			p := &proxy.Proxy{TLS: test.tls, Log: said.logger()}
			f := front(t, p, serveTLS(t, a, "m1", test.server, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
			for range 3 {
				res, body := do(t, request(t, "POST", f.URL, strings.NewReader("hello")))
				require.Equal(t, test.code, res.StatusCode, body)
			}
			require.Contains(t, said.String(), test.says)
		})
	}
}

func TestMemberRefusesTheBalancer(t *testing.T) {
	a, foreign, now := authority(t), authority(t), time.Now()
	old, err := ca.New("p", now.Add(-40*24*time.Hour))
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		with []tls.Certificate
	}{
		{"none", nil},
		{"of another authority", []tls.Certificate{certificate(t, foreign, ca.Balancer, "b1", now)}},
		{"expired", []tls.Certificate{certificate(t, old, ca.Balancer, "b1", now.Add(-35*24*time.Hour))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			said := &lines{}
			p := &proxy.Proxy{TLS: &tls.Config{RootCAs: a.Pool(), Certificates: test.with}, Log: said.logger()}
			f := front(t, p, refuseTLS(t, a, "m1", certificate(t, a, ca.Member, "m1", now)))
			for range 3 {
				res, body := do(t, request(t, "POST", f.URL, strings.NewReader("hello")))
				require.Equal(t, 502, res.StatusCode, body)
			}
			require.Contains(t, said.String(), "refuses this balancer's certificate")
			require.Equal(t, 1, strings.Count(said.String(), "cannot be reached"), "said once")
		})
	}
}

// A member whose certificate is wrong, or that takes nobody's, is passed over
// for another one, with a POST too: none has seen anything of it.
func TestOthersAreTriedOverTLS(t *testing.T) {
	a, foreign, now := authority(t), authority(t), time.Now()
	var got atomic.Int64
	echo := func(w http.ResponseWriter, r *http.Request) { got.Add(1); _, _ = io.Copy(w, r.Body) }
	wrong := serveTLS(t, a, "m1", certificate(t, a, ca.Member, "m9", now), echo)
	strict := refuseTLS(t, foreign, "m2", certificate(t, a, ca.Member, "m2", now))
	right := serveTLS(t, a, "m3", certificate(t, a, ca.Member, "m3", now), echo)
	p := &proxy.Proxy{TLS: &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{certificate(t, a, ca.Balancer, "b1", now)}}, AvoidFor: time.Nanosecond}
	f := front(t, p, wrong, strict, right)
	for range 30 {
		res, body := do(t, request(t, "POST", f.URL, strings.NewReader("hello")))
		require.Equal(t, 200, res.StatusCode, body)
		require.Equal(t, "hello", body)
	}
	require.EqualValues(t, 30, got.Load())
}

// Connections are used again, and one that the member closed while it lay idle
// costs no request, not even a POST.
func TestIdleConnectionsOverTLS(t *testing.T) {
	a, now := authority(t), time.Now()
	var mu sync.Mutex
	conns := map[net.Conn]http.ConnState{}
	opened := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, a, ca.Member, "m1", now)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool()}
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateNew {
			opened++
		}
		conns[c] = state
	}
	s.StartTLS()
	defer s.Close()
	target := at(s.Listener.Addr().String())
	target.Member, target.TLS = "m1", true
	p := &proxy.Proxy{TLS: &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{certificate(t, a, ca.Balancer, "b1", now)}}}
	f := front(t, p, target)
	for range 10 {
		res, _ := do(t, request(t, "POST", f.URL, strings.NewReader("hello")))
		require.Equal(t, 200, res.StatusCode)
	}
	mu.Lock()
	require.Equal(t, 1, opened, "the connection is used again")
	mu.Unlock()
	for range 50 {
		mu.Lock()
		for c, state := range conns {
			if state == http.StateIdle {
				_ = c.Close() // as a member does that has waited long enough
			}
		}
		mu.Unlock()
		res, body := do(t, request(t, "POST", f.URL, strings.NewReader("hello")))
		require.Equal(t, 200, res.StatusCode, body)
	}
}

func TestUpgradeOverTLS(t *testing.T) {
	a, now := authority(t), time.Now()
	target := serveTLS(t, a, "m1", certificate(t, a, ca.Member, "m1", now), func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, rw) // until the client's half ends
	})
	p := &proxy.Proxy{TLS: &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{certificate(t, a, ca.Balancer, "b1", now)}}}
	f := front(t, p, target)
	r := request(t, "GET", f.URL, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	rw := res.Body.(io.ReadWriteCloser)
	defer rw.Close()
	_, err = io.WriteString(rw, "hello")
	require.NoError(t, err)
	back := make([]byte, 5)
	_, err = io.ReadFull(rw, back)
	require.NoError(t, err)
	require.Equal(t, "hello", string(back))
}
