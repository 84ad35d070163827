package proxy

import (
	"net/http"
	"time"
)

// Server returns an HTTP server for a handler that faces clients nobody
// trusts. A head must be there within 10 s and fit in 64 KiB, and an idle
// connection ends after 75 s. There is no limit on the time of a body, in
// either direction: a long upload, download or stream is not an attack.
// The caller sets Addr, TLSConfig and ErrorLog as needed, and runs it.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
}
