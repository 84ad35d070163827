package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
)

// maxStale is how often in a row one target may turn out to have closed an idle connection.
const maxStale = 3

// exchange is one request on its way to a member: on which target it is
// counted, where it was already, what came of it.
type exchange struct {
	proxy   *Proxy
	route   route
	target  *target // on which it is counted
	address string  // of the target's port

	writer http.ResponseWriter
	duplex bool // the answer began before the request ended

	body   *body // nil: none
	tried  []*target
	stale  int  // idle connections of target that were closed
	resent bool // to another member, after something of it was sent

	answered bool // a member's answer is being passed on
	finished bool // and was, to its end
	madeUp   bool // the balancer answered instead
	ended    bool
}

// exchangeKey is where a request's context holds its exchange.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// end releases the target, once. It runs whatever happened, a panic included.
func (x *exchange) end() {
	if !x.ended {
		x.ended = true
		x.route.cluster.release(x.target, x.answered && x.finished, x.madeUp)
	}
}

// forward runs the exchange to its end.
func (x *exchange) forward(reverse http.Handler, r *http.Request) {
	defer x.end()
	rc := http.NewResponseController(x.writer)
	defer func() {
		if x.answered && !x.finished {
			// The answer breaks off, but the client gets what there is of it. A
			// client that cannot be reached any more has lost nothing by it.
			_ = rc.Flush()
		}
	}()
	reverse.ServeHTTP(x.writer, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	x.finished = true
	if x.duplex {
		// In full duplex the server does not expect to find the end of the body
		// by itself: bring it there. That waits for the client, whom the rest
		// of the answer reaches before, and whom the member no longer serves.
		x.end()
		_ = rc.Flush()
		_ = r.Body.Close()
	}
}

// began notes that the member answers.
func (x *exchange) began(r *http.Request, res *http.Response) {
	x.answered = true
	if rwc, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &tunnel{rwc}
	}
	if r.ProtoMajor == 1 && x.body != nil && !x.body.over() {
		// Without it the server would read the rest of the request's body
		// itself before it lets the answer begin.
		x.duplex = http.NewResponseController(x.writer).EnableFullDuplex() == nil
	}
}

// engine is what sends exchanges, in the place of a transport.
type engine struct{}

var _ http.RoundTripper = engine{}

// RoundTrip sends the request to its target, and to another one where that is
// safe, until there is an answer.
func (engine) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	if x == nil {
		return nil, errors.New("the request did not come through the proxy")
	}
	if r.Body != nil {
		// A member that takes TLS may refuse the connection after a part of the
		// body went into it, of which it has seen nothing.
		x.body = &body{from: r.Body, keep: idempotent(r.Method) || x.target.tls.Load()}
	}
	for {
		a := &attempt{}
		res, err := x.send(r, a)
		if err == nil {
			x.began(r, res)
			return res, nil
		}
		if r.Context().Err() != nil || !x.again(r, a, err) {
			return nil, err
		}
	}
}

// send sends the request to its target once.
func (x *exchange) send(r *http.Request, a *attempt) (*http.Response, error) {
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), a.trace(x.target)))
	u := *r.URL
	u.Scheme, u.Host = x.target.scheme(), x.address
	out.URL = &u
	if x.body != nil {
		out.Body = &sent{body: x.body}
	}
	return x.target.transport.RoundTrip(out)
}

// again decides whether the request may be sent once more after an attempt
// that failed, and moves it to where it is sent next.
//
// It may if nothing of it was sent: no connection came about, or the idle one
// that was to carry it was closed before the first byte. If something was
// sent, the member may have acted on it: only an idempotent request goes to
// one other member, once, and only if nothing of the answer arrived.
func (x *exchange) again(r *http.Request, a *attempt, err error) bool {
	wasSent := a.anythingSent()
	if !a.connected {
		var dial *dialError
		if !errors.As(err, &dial) {
			return false // it was not the target's fault, and would fail everywhere
		}
		x.proxy.dialFailed(x.route.cluster, x.target, err)
	}
	if refusal := a.refusal(); refusal != nil {
		wasSent = false
		x.proxy.dialFailed(x.route.cluster, x.target, refusal)
	}
	if a.answering.Load() || !x.body.again() {
		return false
	}
	if wasSent && (x.resent || !idempotent(r.Method) || timedOut(err)) {
		return false
	}
	if a.reused && !wasSent && x.stale < maxStale {
		// The member is not known to be bad, only its idle connections are.
		x.stale++
		x.target.transport.CloseIdleConnections()
		return true
	}
	x.tried = append(x.tried, x.target)
	to, address := x.route.cluster.move(x.target, x.route.port, x.tried)
	if to == nil {
		return false
	}
	x.target, x.address, x.stale = to, address, 0
	x.resent = x.resent || wasSent
	return true
}

// idempotent reports whether sending a request twice is like sending it once (RFC 9110, 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// timedOut reports whether an error is a timeout.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
