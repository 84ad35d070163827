package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"strings"
)

// requestID is the header that names a request in everybody's logs.
const requestID = "X-Request-Id"

// rewrite makes the request that a member gets. Hop-by-hop headers are gone
// already; host, path and query stay as the client sent them.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery // as it was, even where it is no valid form
	h := r.Out.Header
	if p.TrustForwarded {
		copyValues(h, r.In.Header, "Forwarded", "X-Forwarded-For")
	} else {
		dropForwarded(h)
	}
	r.SetXForwarded()
	if p.TrustForwarded {
		copyValues(h, r.In.Header, "X-Forwarded-Host", "X-Forwarded-Proto")
	}
	if ids := h[requestID]; len(ids) != 1 || !plainID(ids[0]) {
		h.Set(requestID, newRequestID())
	}
	if !idempotent(r.In.Method) {
		hideIdempotencyKey(h)
	}
}

// dropForwarded removes what a client says about where a request came from:
// only this proxy knows.
func dropForwarded(h http.Header) {
	for name := range h {
		if name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
}

// copyValues copies headers that are there.
func copyValues(to, from http.Header, names ...string) {
	for _, name := range names {
		if v := from[name]; len(v) > 0 {
			to[name] = v
		}
	}
}

// hideIdempotencyKey keeps the transport from sending a POST twice because it
// has such a key: it looks for the canonical names only, which on the wire are
// the same as these.
func hideIdempotencyKey(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = v
		}
	}
}

// plainID reports whether a client's request id is short and harmless in a log.
func plainID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	return !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' })
}

func newRequestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
