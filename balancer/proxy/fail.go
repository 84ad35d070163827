package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// clientGone is what is noted where nobody is left to read it.
const clientGone = 499

// fail answers in a member's place: a status, and a line that names the host
// and says what is wrong with it, and nothing of what is behind it.
func fail(w http.ResponseWriter, r *http.Request, status int, what string) {
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if id := r.Header.Get(requestID); plainID(id) {
		h.Set(requestID, id)
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// A client that does not take it is gone.
		_, _ = fmt.Fprintf(w, "%s: %s\n", cmp.Or(normalHost(r.Host), "no host"), what)
	}
}

// unavailable answers that trying again later may help.
func (p *Proxy) unavailable(w http.ResponseWriter, r *http.Request, what string) {
	after := cmp.Or(p.RetryAfter, 5*time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(after.Seconds())))))
	fail(w, r, http.StatusServiceUnavailable, what)
}

// refuse answers a request that got no target.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errNoTable):
		p.unavailable(w, r, "the balancer does not know its routes yet")
	case errors.Is(err, errNoRoute):
		fail(w, r, http.StatusNotFound, "nothing is served here")
	case errors.Is(err, errQueueFull), errors.Is(err, errQueueTime), errors.Is(err, errVacant):
		p.unavailable(w, r, err.Error())
	default:
		fail(w, r, clientGone, "the client is gone")
	}
}

// sendFailed answers a request that no member answered. It is the reverse
// proxy's error handler; r is the request as it was sent.
func (p *Proxy) sendFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	x.answered = false
	status, what := explain(x, r, err)
	x.madeUp = status >= 500
	p.log().Debug("proxy: no answer", "cluster", x.route.cluster.id, "member", x.target.id.Member,
		"address", x.address, "request", r.Header.Get(requestID), "status", status, "error", err)
	fail(w, r, status, what)
}

// explain says whose fault an error is.
func explain(x *exchange, r *http.Request, err error) (status int, what string) {
	var tooLarge *http.MaxBytesError
	var dial *dialError
	broken := x.body.failure()
	switch {
	case r.Context().Err() != nil:
		return clientGone, "the client is gone"
	case errors.As(broken, &tooLarge):
		return http.StatusRequestEntityTooLarge, "the request's body is too large"
	case broken != nil:
		return http.StatusBadRequest, "the request's body cannot be read"
	case errors.As(err, &dial):
		return http.StatusBadGateway, "the member cannot be reached"
	case timedOut(err):
		return http.StatusGatewayTimeout, "the member did not answer in time"
	}
	return http.StatusBadGateway, "the member did not answer"
}
