package proxy

import (
	"errors"
	"net"
	"sync/atomic"
)

// errStale says that an idle connection turned out to be closed before
// anything was written to it.
var errStale = errors.New("the idle connection was closed by the member")

// conn counts what is written, so that it is known, and not guessed, whether
// a member can have seen anything of a request. And it looks before the first
// write of a request on a connection that lay idle whether the member closed
// it: a write into such a connection succeeds, and the request is lost.
type conn struct {
	net.Conn              // the TLS one, where there is one
	below    net.Conn     // the network's, to look at
	wrote    atomic.Int64 // bytes; those of a write under way are counted as written
	look     atomic.Bool  // before the next write

	// refused is what the member said when it refused the connection itself.
	// With TLS 1.3 it can say so only after the client believes to be
	// connected, to which the first request falls victim; the member has read
	// nothing of that.
	refused atomic.Pointer[net.OpError]
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" { // as crypto/tls names it
		c.refused.Store(alert)
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.look.Swap(false) && closedByPeer(c.below) {
		return 0, errStale
	}
	c.wrote.Add(int64(len(b)))
	n, err := c.Conn.Write(b)
	c.wrote.Add(int64(n - len(b)))
	return n, err
}

// CloseWrite ends the writing half.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }
