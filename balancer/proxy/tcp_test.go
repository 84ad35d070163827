package proxy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/topology"
)

// echo starts a member that greets with its name, repeats what it gets in
// capitals, and says goodbye when its client sends no more.
func echo(t *testing.T, name string, wrap func(net.Listener) net.Listener) balancer.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	target := at(l.Addr().String())
	target.Member, target.Ports = topology.MemberID(name), map[string]int{"db": target.Ports["http"]}
	if wrap != nil {
		l, target.TLS = wrap(l), true
	}
	var work sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		end()
		_ = l.Close() // a test may have closed it
		work.Wait()
	})
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { _ = c.Close() })() // who is connected hears of it
				_, _ = io.WriteString(c, name+" ")
				b := make([]byte, 1<<16)
				for {
					n, err := c.Read(b)
					_, _ = io.WriteString(c, strings.ToUpper(string(b[:n])))
					if err != nil {
						_, _ = io.WriteString(c, "!")
						return
					}
				}
			})
		}
	})
	return target
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func tcpTable(port int, targets ...balancer.Target) *balancer.Table {
	return &balancer.Table{
		Routes:   []balancer.Route{{Protocol: balancer.TCP, Port: "db", Listen: port, Cluster: shop}},
		Clusters: map[topology.ClusterID]*balancer.Cluster{shop: {ID: shop, Targets: targets}},
	}
}

func apply(t *testing.T, p *proxy.Proxy, table *balancer.Table) {
	t.Helper()
	require.NoError(t, p.Apply(t.Context(), table))
}

// connect dials until somebody listens.
func connect(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	var c net.Conn
	soon(t, func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		return err == nil
	}, "somebody listens")
	t.Cleanup(func() { _ = c.Close() }) // a test may have closed it
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	return c.(*net.TCPConn)
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err, "%q", b)
	require.Equal(t, want, string(b))
}

func newTCP(t *testing.T) *proxy.Proxy {
	p := &proxy.Proxy{}
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestTCPRoundTrip(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	apply(t, p, tcpTable(port, echo(t, "one", nil)))
	c := connect(t, port)
	read(t, c, "one ")
	_, err := io.WriteString(c, "hello")
	require.NoError(t, err)
	read(t, c, "HELLO")
	require.Equal(t, 1, p.Stats()[shop].InFlight)
	require.NoError(t, c.CloseWrite())
	rest, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "!", string(rest), "half of it was closed, and the other half not")
	soon(t, idle(p), "it ends")
	s := p.Stats()[shop]
	require.Equal(t, [3]uint64{1, 1, 0}, [3]uint64{s.Arrivals, s.Served, s.Errors})
}

func TestTCPLarge(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	apply(t, p, tcpTable(port, echo(t, "one", nil)))
	c := connect(t, port)
	read(t, c, "one ")
	const size = 8 << 20
	go func() {
		_, _ = io.WriteString(c, strings.Repeat("x", size)) // the reader sees what is missing
		_ = c.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	require.EqualValues(t, size+1, n)
}

// TestTCPGoesToTheLeastBusy: and a member that cannot be reached costs a try.
func TestTCPGoesToTheLeastBusy(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	gone := at(fmt.Sprint("127.0.0.1:", freePort(t)))
	gone.Member, gone.Ports = "gone", map[string]int{"db": gone.Ports["http"]}
	apply(t, p, tcpTable(port, gone, echo(t, "one", nil), echo(t, "two", nil)))
	names := map[string]int{}
	for range 6 {
		c := connect(t, port)
		b := make([]byte, 4)
		_, err := io.ReadFull(c, b)
		require.NoError(t, err)
		names[string(b)]++
	}
	require.Equal(t, map[string]int{"one ": 3, "two ": 3}, names)
	require.Equal(t, 6, p.Stats()[shop].InFlight)
}

// TestTCPMemberIsReplaced: new connections go to the new one, old ones stay
// until the old one ends.
func TestTCPMemberIsReplaced(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	one, two := echo(t, "one", nil), echo(t, "two", nil)
	apply(t, p, tcpTable(port, one))
	old := connect(t, port)
	read(t, old, "one ")
	apply(t, p, tcpTable(port, draining(one), two))
	read(t, connect(t, port), "two ")
	require.False(t, p.Drained(shop, one.TargetID))
	_, err := io.WriteString(old, "x")
	require.NoError(t, err)
	read(t, old, "X")
	require.NoError(t, old.Close())
	soon(t, func() bool { return p.Drained(shop, one.TargetID) }, "it is drained")
}

// TestTCPWaitsForAMember: a database that starts again is waited for.
func TestTCPWaitsForAMember(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	apply(t, p, tcpTable(port))
	c := connect(t, port)
	soon(t, func() bool { return p.Stats()[shop].Queued == 1 }, "it waits")
	apply(t, p, tcpTable(port, echo(t, "one", nil)))
	read(t, c, "one ")
}

func TestTCPListenersFollowTheTable(t *testing.T) {
	p, port, other := newTCP(t), freePort(t), freePort(t)
	one := echo(t, "one", nil)
	apply(t, p, tcpTable(port, one))
	c := connect(t, port)
	read(t, c, "one ")
	moved := tcpTable(port, one)
	moved.Routes[0].Listen = other
	apply(t, p, moved)
	read(t, connect(t, other), "one ")
	soon(t, func() bool {
		late, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		return err != nil || late.Close() != nil
	}, "nobody listens there any more")
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	read(t, c, "X")

	// The end of the proxy is the end of its connections.
	require.NoError(t, p.Close())
	_, _ = io.ReadAll(c) // its end, or a reset
	_, dialErr := net.Dial("tcp", fmt.Sprint("127.0.0.1:", other))
	require.Error(t, dialErr)
	require.Zero(t, p.Stats()[shop].InFlight)
}

// TestTCPPortIsTaken: it is said, nothing else suffers, and it is tried again.
func TestTCPPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	log := &lines{}
	p := newTCP(t)
	p.Log = log.logger()
	table := tcpTable(port, echo(t, "one", nil))
	free := freePort(t)
	table.Routes = append(table.Routes, balancer.Route{Protocol: balancer.TCP, Port: "db", Listen: free, Cluster: shop})
	apply(t, p, table)
	read(t, connect(t, free), "one ")
	soon(t, func() bool { return strings.Contains(log.String(), strconv.Itoa(port)) }, "it is said")
	require.NoError(t, taken.Close())
	read(t, connect(t, port), "one ")
}

func TestTCPConnectionsAreBounded(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	p.TCPConnections = 2
	apply(t, p, tcpTable(port, echo(t, "one", nil)))
	first := connect(t, port)
	read(t, first, "one ")
	read(t, connect(t, port), "one ")
	_, err := io.ReadAll(connect(t, port))
	if err == nil {
		require.Equal(t, 2, p.Stats()[shop].InFlight)
	}
	require.NoError(t, first.Close())
	soon(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		require.NoError(t, err)
		defer c.Close()
		b := make([]byte, 4)
		_, err = io.ReadFull(c, b)
		return err == nil
	}, "there is room again")
}

// TestTCPOverTLS: members off loopback are reached as for requests, and one
// that is not who it should be gets nothing.
func TestTCPOverTLS(t *testing.T) {
	a := authority(t)
	listen := func(server tls.Certificate) func(net.Listener) net.Listener {
		return func(l net.Listener) net.Listener {
			return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(), MinVersion: tls.VersionTLS13})
		}
	}
	p, port := newTCP(t), freePort(t)
	now := time.Now()
	p.TLS = &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{certificate(t, a, ca.Balancer, "b1", now)}}
	good := echo(t, "good", listen(certificate(t, a, ca.Member, "good", now)))
	bad := echo(t, "bad", listen(certificate(t, a, ca.Member, "another", now)))
	apply(t, p, tcpTable(port, bad, good))
	for range 3 {
		c := connect(t, port)
		read(t, c, "good ")
		require.NoError(t, c.CloseWrite())
		rest, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "!", string(rest))
	}
}

// TestManyTCPRoutes: a table that is applied again does not listen anew.
func TestManyTCPRoutes(t *testing.T) {
	p, port := newTCP(t), freePort(t)
	one := echo(t, "one", nil)
	apply(t, p, tcpTable(port, one))
	c := connect(t, port)
	read(t, c, "one ")
	for range 200 {
		apply(t, p, tcpTable(port, one))
		next, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		require.NoError(t, err, "its port was closed in between")
		require.NoError(t, next.Close())
	}
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	read(t, c, "X")
}
