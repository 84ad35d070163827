package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
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

// connect makes the connections of one target.
func (p *Proxy) connect() *http.Transport {
	return &http.Transport{
		DialContext:           p.dial,
		DialTLSContext:        p.dialTLS,
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
	dial := p.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	return &conn{Conn: c}, nil
}

// dialTLS connects to a member and agrees with it on TLS.
func (p *Proxy) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout()) // for both
	defer cancel()
	c, err := p.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := p.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, &dialError{errors.Join(err, c.Close())}
	}
	return tc, nil
}

// dialFailed notes that a target cannot be reached.
func (p *Proxy) dialFailed(c *cluster, t *target, err error) {
	if c.failed(t) {
		p.log().Warn("proxy: a member cannot be reached; requests go to others", "cluster", c.id,
			"member", t.id.Member, "address", t.id.Address, "error", err)
	}
}

func (p *Proxy) scheme() string {
	if p.TLS != nil {
		return "https"
	}
	return "http"
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
