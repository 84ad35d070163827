package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// Pauses between the checks of a runtime that starts: an app that boots in
// 50 ms is not kept waiting, one that boots in a minute is not bothered.
const (
	firstCheck   = 5 * time.Millisecond
	slowestCheck = 100 * time.Millisecond
)

// checker asks a runtime whether it is well.
type checker struct {
	health  cartridge.Health // with its defaults
	port    int
	timeout time.Duration
	http    *http.Client
}

func newChecker(h cartridge.Health, port int) *checker {
	return &checker{
		health:  h,
		port:    port,
		timeout: h.Timeout,
		http: &http.Client{
			// No proxy, and a connection of its own for every check: one that
			// stays would keep a graceful stop waiting.
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *checker) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// badAnswer is an answer with a status of 500 or more.
type badAnswer struct{ status string }

func (e *badAnswer) Error() string { return "it answered " + e.status }

// check returns nil if the runtime is well.
func (c *checker) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.health.Kind != cartridge.HealthHTTP {
		return c.connect(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address()+c.health.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "stratos-agent")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // the connection is not used again
	if resp.StatusCode >= 500 {
		return &badAnswer{status: resp.Status}
	}
	// Let a small page go out whole, so that the app sees no broken pipe.
	if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// connect makes a connection, and waits for the greeting if there is to be one.
func (c *checker) connect(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.address())
	if err != nil {
		return err
	}
	if c.health.Kind == cartridge.HealthGreeting {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // Read says that it is over
		_, err = conn.Read(make([]byte, 512))
		stop()
	}
	if err != nil {
		_ = conn.Close() // the first error tells more
		return err
	}
	return conn.Close()
}

// late says what to do about a runtime that was not well in time. last is what
// the last check met.
func (c *checker) late(last error) error {
	within := c.health.Start
	switch c.health.Kind {
	case cartridge.HealthGreeting:
		return refuse("the app did not greet who connected to port %d within %v: it must listen on 127.0.0.1:$PORT", c.port, within)
	case cartridge.HealthTCP:
		return refuse("the app did not accept a connection on port %d within %v: it must listen on 127.0.0.1:$PORT", c.port, within)
	}
	var bad *badAnswer
	if errors.As(last, &bad) {
		return refuse("the app still answers GET %s on port %d with %s after %v: it must answer with a status below 500", c.health.Path, c.port, bad.status, within)
	}
	return refuse("the app did not answer GET %s on port %d within %v: it must listen on 127.0.0.1:$PORT", c.health.Path, c.port, within)
}
