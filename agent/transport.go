package agent

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// A replica that is cut off swallows packets. What is noticed within these
// times is tried at the next one.
const (
	dialTimeout   = 3 * time.Second
	answerTimeout = 10 * time.Second // from the request to the head of its answer
	pingAfter     = 10 * time.Second // of silence on a connection that carries several streams
	pingTimeout   = 5 * time.Second
)

// ownTransport calls the control plane where the flavour gives no client.
func ownTransport(id *identity) *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	if id != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: id.roots, MinVersion: tls.VersionTLS13, Time: id.clock.Now}
	}
	return t
}
