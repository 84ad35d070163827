package proxy

import (
	"fmt"
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
			if !t.tls.Load() { // else it may refuse the connection yet
				t.failing.Store(false)
			}
			if a.conn, _ = info.Conn.(*conn); a.conn != nil {
				a.from = a.conn.wrote.Load()
				a.conn.look.Store(info.Reused)
			}
		},
		GotFirstResponseByte: func() {
			a.answering.Store(true)
			t.failing.Store(false)
		},
	}
}

// refusal is why the member refused the new connection; nil if it did not.
func (a *attempt) refusal() error {
	if a.conn == nil || a.reused {
		return nil
	}
	if alert := a.conn.refused.Load(); alert != nil {
		return fmt.Errorf("it refuses this balancer's certificate: %w", alert)
	}
	return nil
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
