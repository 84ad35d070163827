package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer/proxy"
)

func TestHeaders(t *testing.T) {
	tests := []struct {
		name   string
		trust  bool
		sent   string // header lines
		header string // as the member got it
		want   []string
	}{
		{"client's address", false, "", "X-Forwarded-For", []string{"127.0.0.1"}},
		{"client's host", false, "", "X-Forwarded-Host", []string{"shop.example"}},
		{"client's protocol", false, "", "X-Forwarded-Proto", []string{"http"}},
		{"claimed address", false, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For", []string{"127.0.0.1"}},
		{"claimed host", false, "X-Forwarded-Host: evil", "X-Forwarded-Host", []string{"shop.example"}},
		{"claimed protocol", false, "X-Forwarded-Proto: https", "X-Forwarded-Proto", []string{"http"}},
		{"claimed port", false, "X-Forwarded-Port: 1", "X-Forwarded-Port", nil},
		{"claimed real address", false, "X-Real-IP: 6.6.6.6", "X-Real-Ip", nil},
		{"claimed, standard", false, "Forwarded: for=6.6.6.6", "Forwarded", nil},
		{"address removed by name", false, "Connection: X-Forwarded-For, X-Request-Id", "X-Forwarded-For", []string{"127.0.0.1"}},
		{"trusted address", true, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For", []string{"1.2.3.4, 127.0.0.1"}},
		{"trusted host", true, "X-Forwarded-Host: www.example", "X-Forwarded-Host", []string{"www.example"}},
		{"trusted protocol", true, "X-Forwarded-Proto: https", "X-Forwarded-Proto", []string{"https"}},
		{"trusted, nothing said", true, "", "X-Forwarded-Proto", []string{"http"}},
		{"trusted, standard", true, "Forwarded: for=1.2.3.4", "Forwarded", []string{"for=1.2.3.4"}},
		{"hop-by-hop", false, "Keep-Alive: 5", "Keep-Alive", nil},
		{"hop-by-hop by name", false, "Connection: X-Hop\r\nX-Hop: 1", "X-Hop", nil},
		{"end-to-end", false, "X-End: 1\r\nX-End: 2", "X-End", []string{"1", "2"}},
		{"no user agent is made up", false, "", "User-Agent", nil},
		{"no coding is made up", false, "", "Accept-Encoding", nil},
		{"request id", false, "X-Request-Id: abc-1", "X-Request-Id", []string{"abc-1"}},
		{"idempotency key", false, "Idempotency-Key: k", "Idempotency-Key", []string{"k"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := make(chan *http.Request, 1)
			s := front(t, &proxy.Proxy{TrustForwarded: test.trust}, at(serve(t, func(w http.ResponseWriter, r *http.Request) { got <- r })))
			head := "POST /a%2Fb//c?x=1;y=%zz HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n"
			if test.sent != "" {
				head += test.sent + "\r\n"
			}
			raw(t, s.Listener.Addr().String(), head+"\r\n")
			r := <-got
			require.Equal(t, test.want, r.Header[test.header])
			require.Equal(t, "shop.example", r.Host)
			require.Equal(t, "/a%2Fb//c?x=1;y=%zz", r.RequestURI, "as it was sent")
		})
	}
}

// raw sends bytes and waits for an answer.
func raw(t *testing.T, address, request string) *http.Response {
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res
}

func TestRequestIDIsMadeWhereThereIsNoGoodOne(t *testing.T) {
	for name, sent := range map[string]string{
		"none":     "",
		"empty":    "X-Request-Id:\r\n",
		"too long": "X-Request-Id: " + strings.Repeat("x", 129) + "\r\n",
		"spaces":   "X-Request-Id: a b\r\n",
		"two":      "X-Request-Id: a\r\nX-Request-Id: b\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan []string, 1)
			s := front(t, &proxy.Proxy{}, at(serve(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header["X-Request-Id"] })))
			raw(t, s.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: shop.example\r\n"+sent+"\r\n")
			ids := <-got
			require.Len(t, ids, 1)
			require.Regexp(t, "^[0-9a-f]{32}$", ids[0])
		})
	}
}
