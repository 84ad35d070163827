package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer/proxy"
)

// rude is a member that reads whole requests and hangs up without an answer.
// The first answered requests of each connection get one.
func rude(t *testing.T, answered int) (address string, got *atomic.Int64) {
	got = &atomic.Int64{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go hangUp(c, answered, got)
		}
	}()
	return l.Addr().String(), got
}

func hangUp(c net.Conn, answered int, got *atomic.Int64) {
	defer c.Close()
	in := bufio.NewReader(c)
	for i := 0; ; i++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if i >= answered {
			got.Add(1)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrude\n")
	}
}

// TestFailover sends one request to a member that hangs up after it got all
// of it, with a good member beside it.
func TestFailover(t *testing.T) {
	small, large := strings.Repeat("x", 10<<10), strings.Repeat("x", 1<<20)
	tests := []struct {
		name, method, body string
		chunked            bool
		header             string // to set
		want               int
		rude               int64 // requests that the rude member got
	}{
		{"GET", "GET", "", false, "", 200, 1},
		{"HEAD", "HEAD", "", false, "", 200, 1},
		{"DELETE", "DELETE", "", false, "", 200, 1},
		{"PUT", "PUT", small, false, "", 200, 1},
		{"PUT, length unknown", "PUT", small, true, "", 200, 1},
		{"PUT, too large to keep", "PUT", large, false, "", 502, 1},
		{"POST", "POST", small, false, "", 502, 1},
		{"POST without a body", "POST", "", false, "", 502, 1},
		{"POST with a key", "POST", "", false, "Idempotency-Key", 502, 1},
		{"PATCH", "PATCH", small, false, "", 502, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bad, rudely := rude(t, 0)
			var received atomic.Pointer[string]
			good := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				s := string(b)
				received.Store(&s)
			})
			p := &proxy.Proxy{}
			s := front(t, p, at(bad), at(good))
			r := request(t, test.method, s.URL, strings.NewReader(test.body))
			if test.chunked {
				r.ContentLength = -1
			}
			if test.header != "" {
				r.Header.Set(test.header, "k1")
			}
			res, _ := do(t, r)
			require.Equal(t, test.want, res.StatusCode)
			require.Equal(t, test.rude, rudely.Load())
			if test.want == 200 {
				require.Equal(t, test.body, *received.Load(), "the whole body, again")
			} else {
				require.Nil(t, received.Load(), "sent once")
			}
			soon(t, idle(p), "idle")
			require.Equal(t, test.want == 502, p.Stats()[shop].Errors == 1)
			require.Equal(t, test.want == 200, p.Stats()[shop].Served == 1)
		})
	}
}

// TestPostOnAUsedConnectionIsSentOnce: a transport of its own would repeat it,
// because of the key.
func TestPostOnAUsedConnectionIsSentOnce(t *testing.T) {
	bad, rudely := rude(t, 1)
	s := front(t, &proxy.Proxy{}, at(bad))
	res, _ := do(t, request(t, "GET", s.URL, nil))
	require.Equal(t, 200, res.StatusCode)
	r := request(t, "POST", s.URL, nil)
	r.Header.Set("Idempotency-Key", "k1")
	res, _ = do(t, r)
	require.Equal(t, 502, res.StatusCode)
	require.EqualValues(t, 1, rudely.Load())
}

// TestADeadlyRequestKillsTwoAtMost: what makes a member hang up is not shown
// to all of them.
func TestADeadlyRequestKillsTwoAtMost(t *testing.T) {
	first, one := rude(t, 0)
	second, two := rude(t, 0)
	third, three := rude(t, 0)
	s := front(t, &proxy.Proxy{}, at(first), at(second), at(third))
	res, body := do(t, request(t, "GET", s.URL, nil))
	require.Equal(t, 502, res.StatusCode)
	require.Equal(t, shopHost+": the member did not answer\n", body)
	require.EqualValues(t, 2, one.Load()+two.Load()+three.Load())
}

// TestIdleConnectionsThatTheMemberClosed: a member closes its connections
// after each answer, without a word; POSTs, whose body cannot be had twice, go
// out at once and none is lost.
func TestIdleConnectionsThatTheMemberClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	closed := make(chan struct{})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err == nil {
				_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			if errors.Join(err, c.Close()) == nil {
				closed <- struct{}{}
			}
		}
	}()
	s := front(t, &proxy.Proxy{}, at(l.Addr().String()))
	for range 300 {
		res, body := do(t, request(t, "POST", s.URL, onlyReader{bytes.NewReader(make([]byte, 100))}))
		require.Equal(t, 200, res.StatusCode, body)
		<-closed
	}
}

type onlyReader struct{ io.Reader }

func TestARefusedConnectionGoesElsewhere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	require.NoError(t, l.Close())
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	p := &proxy.Proxy{}
	s := front(t, p, at(nobody), at(good))
	for range 10 {
		res, body := do(t, request(t, "POST", s.URL, strings.NewReader("hello")))
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "hello", body)
	}
	require.NoError(t, p.Apply(t.Context(), shopTable(at(nobody))))
	res, body := do(t, request(t, "POST", s.URL, strings.NewReader("hello")))
	require.Equal(t, 502, res.StatusCode)
	require.Equal(t, shopHost+": the member cannot be reached\n", body, "and nothing of its address")
}

// TestNoFailoverAfterAnAnswerBegan: an answer that breaks off is broken for
// the client too, and not told a second time.
func TestNoFailoverAfterAnAnswerBegan(t *testing.T) {
	var asked atomic.Int64
	half := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	p := &proxy.Proxy{}
	s := front(t, p, at(serve(t, half)), at(serve(t, half)))
	res, err := http.DefaultTransport.RoundTrip(request(t, "GET", s.URL, nil))
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, res.Body.Close())
	require.EqualValues(t, 1, asked.Load())
	soon(t, idle(p), "idle after a broken answer")
	require.Zero(t, p.Stats()[shop].Served, "not to its end")
}

func TestABodyThatTheClientBreaks(t *testing.T) {
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	p := &proxy.Proxy{}
	limited := front(t, p, at(good))
	limited.Config.Handler = http.MaxBytesHandler(p, 1000)

	res, body := do(t, request(t, "POST", limited.URL, strings.NewReader(strings.Repeat("x", 2000))))
	require.Equal(t, 413, res.StatusCode, body)

	c, err := net.Dial("tcp", limited.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+shopHost+"\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
	require.NoError(t, err)
	res, err = http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, 400, res.StatusCode)
	require.NoError(t, res.Body.Close())
	soon(t, idle(p), "idle")
	require.Zero(t, p.Stats()[shop].Errors, "the client's fault")
}
