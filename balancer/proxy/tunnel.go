package proxy

import (
	"errors"
	"io"
)

// errTunnelOver ends an upgraded connection.
var errTunnelOver = errors.New("the member ended the connection")

// tunnel is the member's side of an upgraded connection. When the member ends
// it, it is over: a client that does not notice must not keep it open and
// counted. A client that ends only its own half can still read to the end.
type tunnel struct{ io.ReadWriteCloser }

func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.ReadWriteCloser.Read(p)
	if err == io.EOF {
		err = errTunnelOver // what was read before is passed on all the same
	}
	return n, err
}

// CloseWrite tells the member that the client sends no more.
func (t *tunnel) CloseWrite() error { return closeWrite(t.ReadWriteCloser) }

// closeWrite ends the writing half of a connection, where it has halves.
func closeWrite(c any) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
