// Package proxy is the built-in balancer: a reverse proxy over net/http.
//
// A [Proxy] is an http.Handler that sends each request to a member of the
// cluster that its host and path belong to, and a [balancer.Backend] that is
// told, table by table, where these members are. HTTP/1.1, streams in both
// directions, trailers, 1xx answers, WebSocket and any other Upgrade pass
// through; HTTP/2 passes if the server in front of it speaks it.
//
// A route of protocol "tcp" has a port of its own, on which the proxy listens
// while the route is in the table. A connection goes to the member with the
// fewest, is counted as a request in flight, and waits as one if nobody serves.
// It ends when its member ends it; a member that drains keeps what it has.
//
// # Counting
//
// A request is in flight on its target from the moment that target was chosen
// until the last byte of the answer was copied, the upgraded connection ended,
// or either side went away. It is counted in the critical section in which it
// is picked, and Apply changes the rotation under the same lock, so
// [Proxy.Drained] never speaks too early. Integrals are kept under that lock
// too, by a clock read under it: they are exact. Stats.Served counts answers
// of members that were passed on to their end, Stats.Errors the 502, 503 and
// 504 that the proxy made up, and neither those that a client did not wait for.
//
// # Sending a request again
//
// A request goes to another target if nothing of it was sent, which is
// measured at the connection: the dial failed, or the idle connection that was
// to carry it was closed by then. (A connection is looked at before a request
// is written to it; if a member closes it within that moment, a POST that was
// written is answered with 502, for nobody knows what became of it.) A request
// of which something was sent goes to one other member, once, and only if it is
// idempotent, its body is gone through or at most 64 KiB of it were read, and
// nothing of an answer arrived. So a POST reaches a member once, whatever
// Idempotency-Key it carries. A lost GET without a body may also be sent again
// to the same member, on another connection.
//
// # TLS
//
// A target with TLS is reached by TLS 1.3 and must prove to be its member. One
// that cannot, or that refuses the balancer's certificate, is like one that
// cannot be dialled: others are tried, the log says why, and a request that
// finds none is answered with 502.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// Proxy balances HTTP requests over members. The zero value is ready; its
// fields must not be changed once it is in use. All methods may be called
// concurrently. It owns no goroutines of its own beyond those of requests, of
// routes of protocol "tcp" and of idle connections, which [Proxy.Close] ends.
type Proxy struct {
	// QueueLength is how many requests of one cluster may wait while none of
	// its members serves. Default 1000; negative: none waits.
	QueueLength int
	// QueueTimeout is how long a request waits. Default 30 s.
	QueueTimeout time.Duration
	// RetryAfter is what a 503 asks for, in whole seconds. Default 5 s.
	RetryAfter time.Duration

	// DialTimeout bounds how long a connection to a member may take. Default 5 s.
	DialTimeout time.Duration
	// AnswerTimeout bounds the time from the end of a request to the head of
	// its answer. Default 60 s; negative: none.
	AnswerTimeout time.Duration
	// AvoidFor is how long a target whose dial failed gets nothing while
	// others can be had; then one request at a time probes it. Default 1 s.
	AvoidFor time.Duration
	// IdleTimeout is how long an unused connection to a member is kept. Default 30 s.
	IdleTimeout time.Duration
	// IdlePerTarget is how many unused connections to a target are kept. Default 64.
	IdlePerTarget int

	// TCPHost is the address of this machine on which connections of routes of
	// protocol "tcp" are taken. Default 127.0.0.1.
	TCPHost string
	// TCPConnections is how many connections one such route may have. Default 10 000.
	TCPConnections int

	// TrustForwarded keeps what the client says in Forwarded and
	// X-Forwarded-*: set it only behind another proxy. Default: removed.
	TrustForwarded bool
	// TLS reaches the targets that take it: the balancer's certificate and what
	// to verify theirs with; the ServerName is set for each. Default: none, and
	// such targets cannot be reached.
	TLS *tls.Config
	// Dial connects to members. Default: a net.Dialer with DialTimeout.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets targets that cannot be reached (Warn) and requests that got no
	// answer (Debug). Default: nowhere.
	Log *slog.Logger

	once    sync.Once
	reverse *httputil.ReverseProxy
	routes  atomic.Pointer[routing] // nil: no table was applied yet

	tcp services

	mu       sync.Mutex // held before any cluster's lock, and the services'
	table    *balancer.Table
	clusters map[topology.ClusterID]*cluster // of the table, and those with requests left
}

var (
	_ http.Handler        = (*Proxy)(nil)
	_ balancer.Backend    = (*Proxy)(nil)
	_ balancer.Drainer    = (*Proxy)(nil)
	_ balancer.StatReader = (*Proxy)(nil)
)

var (
	errNoTable = errors.New("no table was applied")
	errNoRoute = errors.New("no route")
)

// ServeHTTP sends the request to a member and its answer back. 404: no route;
// 503 with Retry-After: no member serves, and none will come or the queue is at its bounds;
// 502: no answer; 504: not in time.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.once.Do(p.prepare)
	if r.Method == http.MethodConnect {
		fail(w, r, http.StatusMethodNotAllowed, "tunnels are not served here")
		return
	}
	x, err := p.admit(r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	x.writer = w
	x.forward(p.reverse, r)
}

// admit finds the request's cluster and a target in it, and counts it there.
func (p *Proxy) admit(r *http.Request) (*exchange, error) {
	for {
		routes := p.routes.Load()
		if routes == nil {
			return nil, errNoTable
		}
		to, ok := routes.match(r.Host, r.URL.Path)
		if !ok {
			return nil, errNoRoute
		}
		t, address, err := to.cluster.take(r.Context(), to.port, p.queue())
		if errors.Is(err, errUnlisted) {
			continue // its route went first: the next look finds another, or none
		}
		if err != nil {
			return nil, err
		}
		return &exchange{proxy: p, route: to, target: t, address: address}, nil
	}
}

func (p *Proxy) queue() limits {
	return limits{length: cmp.Or(p.QueueLength, 1000), time: cmp.Or(p.QueueTimeout, 30*time.Second)}
}

// Apply implements [balancer.Backend]. New clusters are there before routes
// lead to them; routes are gone before the clusters they led to. A table whose
// routes lead nowhere is refused.
func (p *Proxy) Apply(ctx context.Context, t *balancer.Table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	left, err := p.apply(t)
	for _, transport := range left {
		transport.CloseIdleConnections() // those in use are closed when they are done
	}
	return err
}

// apply makes the table the routing state, and returns the transports of
// targets that left the rotation.
func (p *Proxy) apply(t *balancer.Table) (left []*http.Transport, err error) {
	if t == nil {
		return nil, errors.New("proxy: no table to apply")
	}
	for _, r := range t.Routes {
		if t.Clusters[r.Cluster] == nil {
			return nil, fmt.Errorf("proxy: route %s%s leads to cluster %q, which is not in the table", r.Host, r.Path, r.Cluster)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clusters == nil {
		p.clusters = map[topology.ClusterID]*cluster{}
	}
	for id, want := range t.Clusters {
		c := p.clusters[id]
		if c == nil {
			c = newCluster(id, cmp.Or(p.AvoidFor, time.Second))
			p.clusters[id] = c
		}
		left = append(left, c.set(want, p.connect)...)
	}
	p.routes.Store(newRouting(t, p.clusters))
	p.tcp.set(p, t, p.clusters)
	for id, c := range p.clusters {
		if t.Clusters[id] != nil {
			continue
		}
		gone, empty := c.unlist()
		left = append(left, gone...)
		if empty {
			delete(p.clusters, id)
		}
	}
	p.table = t
	return left, nil
}

// Drained implements [balancer.Drainer]. Before the first table nothing is
// known, and nothing is drained.
func (p *Proxy) Drained(cluster topology.ClusterID, t balancer.TargetID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table == nil {
		return false
	}
	c := p.clusters[cluster]
	return c == nil || c.drained(t)
}

// Stats implements [balancer.StatReader]. Each cluster's counts are read at
// one moment, its At. A target has a count while it is in the table, at zero
// too, and afterwards until its last request ends.
func (p *Proxy) Stats() map[topology.ClusterID]balancer.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[topology.ClusterID]balancer.Stats{}
	if p.table == nil {
		return all
	}
	for id := range p.table.Clusters {
		all[id] = p.clusters[id].stats()
	}
	return all
}

// Close closes the unused connections to members, and ends what goes on by
// routes of protocol "tcp". Requests go on.
func (p *Proxy) Close() error {
	p.tcp.close()
	p.mu.Lock()
	var all []*http.Transport
	for _, c := range p.clusters {
		all = append(all, c.transports()...)
	}
	p.mu.Unlock()
	for _, transport := range all {
		transport.CloseIdleConnections()
	}
	return nil
}

func (p *Proxy) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}
