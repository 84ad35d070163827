package stratos_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// relay passes TCP connections on, until it is cut.
type relay struct {
	t   *testing.T
	lis net.Listener
	to  string
	run sync.WaitGroup

	mu    sync.Mutex
	away  bool
	conns map[net.Conn]bool
}

// newRelay relays to the host of a URL until close.
func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{t: t, lis: lis, to: u.Host, conns: map[net.Conn]bool{}}
	r.run.Go(r.accept)
	return r
}

func (r *relay) close() {
	require.NoError(r.t, r.lis.Close())
	r.cut()
	r.run.Wait()
}

func (r *relay) url() string { return "http://" + r.lis.Addr().String() }

// cut ends all connections, and lets no new ones through.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = true
	for c := range r.conns {
		_ = c.Close() // it may have ended by itself
	}
}

func (r *relay) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = false
}

func (r *relay) accept() {
	for {
		in, err := r.lis.Accept()
		if err != nil {
			return // closed
		}
		out, err := net.Dial("tcp", r.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		if !r.keep(in, out) {
			continue
		}
		r.run.Go(func() { r.copy(in, out) })
		r.run.Go(func() { r.copy(out, in) })
	}
}

// keep takes note of a connection, if they are let through just now.
func (r *relay) keep(in, out net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		_, _ = in.Close(), out.Close()
		return false
	}
	r.conns[in], r.conns[out] = true, true
	return true
}

// copy ends both connections at the end of one.
func (r *relay) copy(from, to net.Conn) {
	_, _ = io.Copy(to, from) // how a connection ends is of no interest here
	_, _ = from.Close(), to.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, from)
	delete(r.conns, to)
}
