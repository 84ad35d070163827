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
	net.Conn
	wrote atomic.Int64 // bytes; those of a write under way are counted as written
	look  atomic.Bool  // before the next write
}

func (c *conn) Write(b []byte) (int, error) {
	if c.look.Swap(false) && closedByPeer(c.Conn) {
		return 0, errStale
	}
	c.wrote.Add(int64(len(b)))
	n, err := c.Conn.Write(b)
	c.wrote.Add(int64(n - len(b)))
	return n, err
}

// CloseWrite ends the writing half.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

// counted finds the counting connection below another, such as a TLS one.
func counted(c net.Conn) *conn {
	for {
		switch in := c.(type) {
		case *conn:
			return in
		case interface{ NetConn() net.Conn }:
			c = in.NetConn()
		default:
			return nil
		}
	}
}
