//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package proxy

import (
	"errors"
	"net"
	"syscall"
)

// closedByPeer reports whether an idle connection cannot carry a request: its
// peer closed it, or sent what nobody asked for. It does not wait, and takes
// nothing from the connection that somebody else may be reading.
func closedByPeer(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true // closed on this side already
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		for {
			// Of data, of the end and of an error, only the lack of all three
			// says that the connection is idle and alive.
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if !errors.Is(err, syscall.EINTR) {
				closed = !errors.Is(err, syscall.EAGAIN)
				return
			}
		}
	})
	return closed || err != nil
}
