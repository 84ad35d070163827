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
	"time"
)

// flushAfter is how long a part of an answer of known length may lie in a
// buffer. One of unknown length, a stream, is passed on at once.
const flushAfter = 10 * time.Millisecond

// prepare makes the reverse proxy, when the first request comes.
func (p *Proxy) prepare() {
	p.reverse = &httputil.ReverseProxy{
		Rewrite:       p.rewrite,
		Transport:     engine{},
		FlushInterval: flushAfter,
		BufferPool:    &buffers{},
		ErrorHandler:  p.sendFailed,
		ErrorLog:      slog.NewLogLogger(p.log().Handler(), slog.LevelDebug),
	}
}

// connect makes the connections of one target, named by serverName where it takes TLS.
func (p *Proxy) connect(serverName string) *http.Transport {
	return &http.Transport{
		DialContext: p.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.dialTLS(ctx, network, address, serverName)
		},
		MaxIdleConnsPerHost:   cmp.Or(p.IdlePerTarget, 64),
		IdleConnTimeout:       cmp.Or(p.IdleTimeout, 30*time.Second),
		ResponseHeaderTimeout: max(0, cmp.Or(p.AnswerTimeout, time.Minute)),
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // answers pass as they are
	}
}

func (p *Proxy) dialTimeout() time.Duration { return cmp.Or(p.DialTimeout, 5*time.Second) }

// dialError says that a member could not be reached: it has nothing of the request.
type dialError struct{ error }

// Unwrap returns what went wrong.
func (e *dialError) Unwrap() error { return e.error }

// dial connects to a member, and counts what is written from then on.
func (p *Proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout())
	defer cancel()
	c, err := p.dialPlain(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	return &conn{Conn: c, below: c}, nil
}

func (p *Proxy) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// dialTLS connects to a member and agrees with it on TLS. What is counted is
// what is written into TLS: its own messages are no part of a request.
func (p *Proxy) dialTLS(ctx context.Context, network, address, serverName string) (net.Conn, error) {
	if p.TLS == nil {
		return nil, &dialError{errors.New("the member takes TLS only, and this balancer has no certificate: set Proxy.TLS")}
	}
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout()) // for both
	defer cancel()
	c, err := p.dialPlain(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	config := p.TLS.Clone()
	config.ServerName = serverName
	config.MinVersion = max(config.MinVersion, tls.VersionTLS13)
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, &dialError{errors.Join(fmt.Errorf("TLS with %s: %w", serverName, err), c.Close())}
	}
	return &conn{Conn: tc, below: c}, nil
}

// dialFailed notes that a target cannot be reached.
func (p *Proxy) dialFailed(c *cluster, t *target, err error) {
	if c.failed(t) {
		p.log().Warn("proxy: a member cannot be reached; requests go to others", "cluster", c.id,
			"member", t.id.Member, "address", t.id.Address, "error", err)
	}
}

// bufferSize is how much of an answer is copied at once.
const bufferSize = 32 << 10

// buffers keeps the buffers that answers are copied through.
type buffers struct{ pool sync.Pool }

var _ httputil.BufferPool = (*buffers)(nil)

// Get implements [httputil.BufferPool].
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buf[:]
	}
	return make([]byte, bufferSize)
}

// Put implements [httputil.BufferPool].
func (b *buffers) Put(buf []byte) {
	if len(buf) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(buf))
	}
}
