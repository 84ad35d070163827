package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer/proxy"
)

// TestADownloadOutlivesItsTarget: the member drains, then leaves the table,
// then its whole cluster does; the download that it has takes as long as it takes.
func TestADownloadOutlivesItsTarget(t *testing.T) {
	for _, test := range []struct {
		name   string
		length string
	}{{"length known", "12"}, {"chunked", ""}} {
		t.Run(test.name, func(t *testing.T) {
			gate := make(chan string)
			end := sync.OnceFunc(func() { close(gate) })
			old := at(serve(t, func(w http.ResponseWriter, r *http.Request) {
				if test.length != "" {
					w.Header().Set("Content-Length", test.length)
				}
				for part := range gate {
					_, _ = io.WriteString(w, part)
					_ = http.NewResponseController(w).Flush()
				}
			}))
			fresh := at(serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "fresh") }))
			p := &proxy.Proxy{}
			s := front(t, p, old)
			t.Cleanup(end)
			res := make(chan *http.Response, 1)
			go func() {
				r, err := http.DefaultTransport.RoundTrip(request(t, "GET", s.URL, nil))
				if err != nil {
					close(res)
					return
				}
				res <- r
			}()
			gate <- "one " // the head comes with it
			download := <-res
			require.NotNil(t, download)
			read := func(want string) {
				b := make([]byte, len(want))
				_, err := io.ReadFull(download.Body, b)
				require.NoError(t, err)
				require.Equal(t, want, string(b), "passed on at once")
			}
			read("one ")
			require.NoError(t, p.Apply(t.Context(), shopTable(fresh, draining(old))))
			_, body := do(t, request(t, "GET", s.URL, nil))
			require.Equal(t, "fresh", body)
			gate <- "two "
			read("two ")
			require.NoError(t, p.Apply(t.Context(), shopTable(fresh)))
			require.False(t, p.Drained(shop, old.TargetID))
			table := shopTable()
			table.Routes, table.Clusters = nil, nil
			require.NoError(t, p.Apply(t.Context(), table))
			require.False(t, p.Drained(shop, old.TargetID))
			soon(t, func() bool { return p.Drained(shop, fresh.TargetID) }, "the other one is drained")
			gate <- "end."
			end()
			read("end.")
			rest, err := io.ReadAll(download.Body)
			require.NoError(t, err)
			require.Empty(t, rest)
			require.NoError(t, download.Body.Close())
			soon(t, func() bool { return p.Drained(shop, old.TargetID) }, "drained")
		})
	}
}

func TestUpgradeIsCountedUntilItEnds(t *testing.T) {
	for _, end := range []string{"client", "member"} {
		t.Run("ended by the "+end, func(t *testing.T) {
			hangUp := make(chan struct{})
			member := at(serve(t, func(w http.ResponseWriter, r *http.Request) {
				c, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "\r\n\r\n")
				_ = rw.Flush()
				go func() {
					<-hangUp
					c.Close()
				}()
				_, _ = io.Copy(c, rw)
			}))
			p := &proxy.Proxy{}
			s := front(t, p, member)
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_, err = fmt.Fprintf(c, "GET /chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", shopHost)
			require.NoError(t, err)
			in := bufio.NewReader(c)
			res, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			require.Equal(t, 101, res.StatusCode)
			require.Equal(t, "echo", res.Header.Get("Upgrade"))

			require.NoError(t, p.Apply(t.Context(), shopTable(draining(member))))
			for i := range 3 {
				word := fmt.Sprintf("word %d\n", i)
				_, err = io.WriteString(c, word)
				require.NoError(t, err)
				got, err := in.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, word, got)
				require.Equal(t, 1, p.Stats()[shop].InFlightTargets[member.TargetID])
				require.False(t, p.Drained(shop, member.TargetID))
			}
			if end == "client" {
				require.NoError(t, c.Close())
				defer close(hangUp)
			} else {
				close(hangUp)
				_, err = in.ReadByte()
				require.Error(t, err)
			}
			soon(t, func() bool { return p.Drained(shop, member.TargetID) }, "drained")
			require.Zero(t, p.Stats()[shop].InFlight)
			require.EqualValues(t, 1, p.Stats()[shop].Served)
		})
	}
}

// TestAnAnswerMayBeginBeforeTheRequestEnds: a conversation in one request.
func TestAnAnswerMayBeginBeforeTheRequestEnds(t *testing.T) {
	s := front(t, &proxy.Proxy{}, at(serve(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			_, _ = io.WriteString(w, strings.ToUpper(in.Text())+"\n")
			_ = rc.Flush()
		}
	})))
	out, in := io.Pipe()
	defer in.Close()
	ctx, giveUp := context.WithTimeout(t.Context(), 30*time.Second)
	defer giveUp()
	res, err := http.DefaultTransport.RoundTrip(request(t, "POST", s.URL, out).WithContext(ctx))
	require.NoError(t, err)
	answers := bufio.NewReader(res.Body)
	for range 10 {
		_, err := io.WriteString(in, "word\n")
		require.NoError(t, err)
		got, err := answers.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "WORD\n", got)
	}
	require.NoError(t, in.Close())
	_, err = answers.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, res.Body.Close())
}

// TestAConnectionGoesOnAfterAnEarlyAnswer: the member answers without reading
// the request's body, which comes later, and then the next request does.
func TestAConnectionGoesOnAfterAnEarlyAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go refuseAll(c)
		}
	}()
	p := &proxy.Proxy{}
	s := front(t, p, at(l.Addr().String()))
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	in := bufio.NewReader(c)
	for range 5 {
		_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\n01234", shopHost)
		require.NoError(t, err)
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, 403, res.StatusCode)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		soon(t, idle(p), "over for the member while the client is still sending")
		_, err = io.WriteString(c, "56789")
		require.NoError(t, err)
	}
}

// refuseAll answers every request before it reads its body.
func refuseAll(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
	}
}

func TestEarlyHintsAndTrailersPass(t *testing.T) {
	s := front(t, &proxy.Proxy{}, at(serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "Sum")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Late", "43")
	})))
	var hints []string
	r := request(t, "GET", s.URL, nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	}))
	res, body := do(t, r)
	require.Equal(t, []string{"103 </style.css>"}, hints)
	require.Equal(t, 202, res.StatusCode)
	require.Equal(t, "body", body)
	require.Equal(t, "42", res.Trailer.Get("Sum"))
	require.Equal(t, "43", res.Trailer.Get("Late"))
}

func TestExpectContinue(t *testing.T) {
	s := front(t, &proxy.Proxy{}, at(serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})))
	for path, want := range map[string]int{"/": 200, "/refused": 403} {
		r := request(t, "POST", s.URL+path, strings.NewReader("hello"))
		r.Header.Set("Expect", "100-continue")
		res, body := do(t, r)
		require.Equal(t, want, res.StatusCode)
		if want == 200 {
			require.Equal(t, "hello", body)
		}
	}
}

// TestAClientThatLeaves: its request is over for the member and for the counts.
func TestAClientThatLeaves(t *testing.T) {
	for _, test := range []struct {
		name string
		head bool // the answer has begun
	}{{"before the answer", false}, {"in the answer", true}} {
		t.Run(test.name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan struct{})
			p := &proxy.Proxy{}
			s := front(t, p, at(serve(t, func(w http.ResponseWriter, r *http.Request) {
				if test.head {
					_ = http.NewResponseController(w).Flush()
				}
				close(began)
				<-r.Context().Done()
				close(ended)
			})))
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			require.NoError(t, err)
			_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", shopHost)
			require.NoError(t, err)
			<-began
			require.Equal(t, 1, p.Stats()[shop].InFlight)
			require.NoError(t, c.Close())
			<-ended
			soon(t, idle(p), "idle")
			stats := p.Stats()[shop]
			require.Zero(t, stats.Served)
			require.Zero(t, stats.Errors)
		})
	}
}
