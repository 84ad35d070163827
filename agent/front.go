package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// handshakeTimeout bounds how long somebody may stay unknown.
	handshakeTimeout = 10 * time.Second
	// maxConns bounds the connections of one port; more wait to be accepted.
	maxConns = 4096
	// acceptPause is how long to wait when the instance is out of descriptors.
	acceptPause = 100 * time.Millisecond
)

// fronts makes what stands in front of runtimes.
type fronts struct {
	address string // empty: every one
	config  *tls.Config
	log     *slog.Logger
}

// front is mutual TLS in front of one slot's runtime, which listens on
// loopback alone: for each of its ports one that others reach, the same ones
// as long as the slot lives. The nil front is one of no ports.
type front struct {
	claims portClaims
	ports  []*frontPort
	accept sync.WaitGroup
}

// open listens on a free port for each name. Until it is pointed at a runtime,
// it turns everybody away.
func (f *fronts) open(names []string) (*front, error) {
	all := &front{claims: portClaims{}}
	for _, name := range names {
		claim, l, err := f.listen()
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all.claims[name] = claim
		ctx, cancel := context.WithCancel(context.Background()) // until close
		p := &frontPort{
			name: name, listener: l, config: f.config, log: f.log,
			ctx: ctx, cancel: cancel, room: make(chan struct{}, maxConns),
		}
		all.ports = append(all.ports, p)
		all.accept.Go(p.serve)
	}
	return all, nil
}

// listen claims a port that is free on the address, too.
func (f *fronts) listen() (*portClaim, net.Listener, error) {
	for tries := 0; ; tries++ {
		claim, err := claimPort()
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp", net.JoinHostPort(f.address, strconv.Itoa(claim.port)))
		if err == nil {
			return claim, l, nil
		}
		if err = errors.Join(err, claim.release()); tries == 20 {
			return nil, nil, err
		}
	}
}

// numbers returns the ports that others reach, by name.
func (f *front) numbers() map[string]int { return f.claims.numbers() }

// point leads new connections to these ports of the runtime; nil: to none.
func (f *front) point(ports map[string]int) {
	if f == nil {
		return
	}
	for _, p := range f.ports {
		p.target.Store(int64(ports[p.name]))
	}
}

// stop accepts no more connections; those that are there go on.
func (f *front) stop() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, p := range f.ports {
		if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// close ends everything, once, and returns after it has ended.
func (f *front) close() error {
	if f == nil {
		return nil
	}
	err := f.stop()
	for _, p := range f.ports {
		p.cancel()
	}
	f.accept.Wait()
	claims := f.claims
	f.claims = nil
	return errors.Join(err, claims.release())
}

// frontPort is one port of a front.
type frontPort struct {
	name     string
	listener net.Listener
	config   *tls.Config
	log      *slog.Logger
	target   atomic.Int64 // the runtime's port; 0: it is not up
	ctx      context.Context
	cancel   context.CancelFunc
	room     chan struct{} // one for each connection
}

// serve accepts until the listener is closed, and returns after the last
// connection has ended.
func (p *frontPort) serve() {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		select {
		case p.room <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
		c, err := p.listener.Accept()
		if err != nil {
			<-p.room
			if errors.Is(err, net.ErrClosed) || !pause(p.ctx, acceptPause) {
				return
			}
			continue
		}
		conns.Go(func() {
			defer func() { <-p.room }()
			p.handle(c)
		})
	}
}

// handle carries one connection to its end.
func (p *frontPort) handle(c net.Conn) {
	defer c.Close() // all that matters was sent before
	defer context.AfterFunc(p.ctx, func() { _ = c.Close() })()
	if p.target.Load() == 0 {
		return // before the handshake: who connects knows that nothing was sent
	}
	secure := tls.Server(c, p.config)
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	err := secure.HandshakeContext(ctx)
	cancel()
	if err != nil {
		p.log.Debug("a connection is refused", "port", p.name, "from", c.RemoteAddr(), "err", err)
		linger(c)
		return
	}
	var d net.Dialer
	to := net.JoinHostPort("127.0.0.1", strconv.FormatInt(p.target.Load(), 10))
	runtime, err := d.DialContext(p.ctx, "tcp", to)
	if err != nil {
		p.log.Debug("the runtime takes no connection", "port", p.name, "err", err)
		return
	}
	defer runtime.Close() // all that matters was sent before
	defer context.AfterFunc(p.ctx, func() { _ = runtime.Close() })()
	splice(secure, runtime.(*net.TCPConn))
}
