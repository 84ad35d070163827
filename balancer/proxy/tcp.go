package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// Bounds of the pause before a port that cannot be listened on is tried again.
const (
	minListenPause = 200 * time.Millisecond
	maxListenPause = 10 * time.Second
)

// services are the listeners of the routes of protocol "tcp", by their ports.
type services struct {
	mu        sync.Mutex
	listeners map[int]*listener
	ctx       context.Context // of every connection; nil before the first listener
	end       context.CancelFunc
	work      sync.WaitGroup
}

// listener takes connections for one route.
type listener struct {
	address string
	to      atomic.Pointer[route]
	stop    context.CancelFunc
	open    atomic.Int64 // connections
}

// set makes the listeners those of a table: those that stay are not touched.
func (s *services) set(p *Proxy, t *balancer.Table, clusters map[topology.ClusterID]*cluster) {
	wanted := map[int]*route{}
	for _, r := range t.Routes {
		if r.Protocol == balancer.TCP && r.Listen > 0 {
			wanted[r.Listen] = &route{port: r.Port, cluster: clusters[r.Cluster]}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for port, l := range s.listeners {
		if wanted[port] == nil {
			l.stop()
			delete(s.listeners, port)
		}
	}
	for port, to := range wanted {
		l := s.listeners[port]
		if l == nil {
			l = s.open(p, port)
		}
		l.to.Store(to)
	}
}

// open makes a listener and starts it; the lock is held.
func (s *services) open(p *Proxy, port int) *listener {
	if s.listeners == nil {
		s.listeners = map[int]*listener{}
	}
	if s.ctx == nil {
		s.ctx, s.end = context.WithCancel(context.Background())
	}
	ctx, stop := context.WithCancel(s.ctx)
	l := &listener{address: net.JoinHostPort(cmp.Or(p.TCPHost, "127.0.0.1"), strconv.Itoa(port)), stop: stop}
	s.listeners[port] = l
	all := s.ctx
	s.work.Go(func() { p.listen(ctx, all, l, &s.work) })
	return l
}

// close ends all listeners and connections, and waits for their end.
func (s *services) close() {
	s.mu.Lock()
	if s.end != nil {
		s.end()
	}
	s.ctx, s.listeners = nil, nil
	s.mu.Unlock()
	s.work.Wait()
}

// listen takes connections until ctx ends; they go on until all does. A port
// that somebody else has is tried again, and is no reason to route worse elsewhere.
func (p *Proxy) listen(ctx, all context.Context, l *listener, work *sync.WaitGroup) {
	for pause := minListenPause; ; pause = min(2*pause, maxListenPause) {
		lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err == nil {
			pause = minListenPause
			err = p.accept(ctx, all, lis, l, work)
		}
		if ctx.Err() != nil {
			return
		}
		p.log().Warn("proxy: no connections are taken on a service's port; trying again", "address", l.address, "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// accept takes connections until ctx ends or that fails.
func (p *Proxy) accept(ctx, all context.Context, lis net.Listener, l *listener, work *sync.WaitGroup) error {
	stop := context.AfterFunc(ctx, func() { _ = lis.Close() }) // nothing was written to it
	defer stop()
	limit := int64(cmp.Or(p.TCPConnections, 10_000))
	for {
		c, err := lis.Accept()
		if err != nil {
			return errors.Join(err, lis.Close())
		}
		if l.open.Add(1) > limit {
			l.open.Add(-1)
			p.log().Debug("proxy: a connection is refused: there are too many", "address", l.address, "limit", limit)
			_ = c.Close() // nothing was written to it
			continue
		}
		work.Go(func() {
			defer l.open.Add(-1)
			p.carry(all, c, *l.to.Load())
		})
	}
}

// carry connects a client with a member until either is done with it.
func (p *Proxy) carry(ctx context.Context, client net.Conn, to route) {
	defer client.Close()
	t, address, err := to.cluster.take(ctx, to.port, p.queue())
	if err != nil {
		p.log().Debug("proxy: no member for a connection", "cluster", to.cluster.id, "error", err)
		return
	}
	var member net.Conn
	for tried := []*target(nil); ; {
		if member, err = p.reach(ctx, t, address); err == nil {
			break
		}
		p.dialFailed(to.cluster, t, err)
		tried = append(tried, t)
		next, at := to.cluster.move(t, to.port, tried)
		if next == nil || ctx.Err() != nil {
			to.cluster.release(t, false, true)
			return
		}
		t, address = next, at
	}
	defer member.Close()
	t.failing.Store(false)
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close() // what is on its way is lost: the balancer ends
		_ = member.Close()
	})
	defer stop()
	join(client, member)
	to.cluster.release(t, true, false)
}

// reach connects to a target.
func (p *Proxy) reach(ctx context.Context, t *target, address string) (net.Conn, error) {
	if t.tls.Load() {
		return p.dialTLS(ctx, "tcp", address, t.name)
	}
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout())
	defer cancel()
	return p.dialPlain(ctx, "tcp", address) // as it is: the kernel can splice it
}

// join copies in both directions until the member is done, or either fails. A
// client that ends only its own half can still read to the end.
func join(client, member net.Conn) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, err := io.Copy(member, client)
		if err != nil || closeWrite(member) != nil {
			_ = member.Close() // so that the other direction ends, too
		}
	}()
	_, _ = io.Copy(client, member) // whoever failed, it is over
	_ = member.Close()
	_ = client.Close()
	<-sent
}
