package agent

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// halfTimeout is how long a client may go on sending, or keep silent,
	// after the runtime has ended its half.
	halfTimeout = time.Minute
	// A connection that was refused is read for a moment: closed with
	// something unread, it would be reset, and the reason might be lost.
	lingerTimeout = time.Second
	lingerBytes   = 64 << 10
)

// splice carries both directions until both have ended. Each is as fast as its
// slower side, and ends for itself: who says all that it has to say can still
// hear the answer.
func splice(client *tls.Conn, runtime *net.TCPConn) {
	var halves sync.WaitGroup
	halves.Go(func() {
		_, err := io.Copy(runtime, client)
		if err == nil {
			err = runtime.CloseWrite()
		}
		if err != nil { // the client broke off, or the runtime takes no more
			abort(runtime)
		}
	})
	halves.Go(func() {
		_, err := io.Copy(client, runtime)
		if err == nil {
			err = client.CloseWrite()
		}
		if err == nil {
			err = client.SetReadDeadline(time.Now().Add(halfTimeout))
		}
		if err != nil { // the runtime broke off: so does its answer
			abort(client.NetConn())
		}
	})
	halves.Wait()
}

// abort closes a connection so that the other side sees it break: a plain end
// might pass for the end of what was said.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// linger lets a refused client hear why.
func linger(c net.Conn) {
	if half, ok := c.(*net.TCPConn); ok && half.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
		_, _ = io.CopyN(io.Discard, c, lingerBytes) // to its end, or for a moment
	}
}
