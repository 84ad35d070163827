package proxy

import (
	"net/http/httptrace"
	"sync/atomic"
)

// attempt is what is known of one sending of a request. The transport may try
// several idle connections in it, of which it reports each.
type attempt struct {
	connected bool
	reused    bool
	conn      *conn
	from      int64 // what conn had written before
	sent      bool  // something went into an earlier connection
	answering atomic.Bool
}

func (a *attempt) trace(t *target) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			a.sent = a.anythingSent()
			a.connected, a.reused = true, info.Reused
			t.failing.Store(false)
			if a.conn = counted(info.Conn); a.conn != nil {
				a.from = a.conn.wrote.Load()
				a.conn.look.Store(info.Reused)
			}
		},
		GotFirstResponseByte: func() { a.answering.Store(true) },
	}
}

// anythingSent reports whether a member can have seen anything of the request.
func (a *attempt) anythingSent() bool {
	switch {
	case !a.connected:
		return false
	case a.sent, a.conn == nil: // not ours to count: assume the worst
		return true
	}
	return a.conn.wrote.Load() > a.from
}
