package cartridgetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// healthy waits for the first good answer.
func (r *Runtime) healthy() {
	r.t.Helper()
	deadline := time.After(r.plan.Health.Start)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case why := <-r.ended:
			require.Failf(r.t, why, "before it was healthy\n%s", r.Log())
		case <-deadline:
			require.Failf(r.t, "not healthy", "after %v: %v\n%s", r.plan.Health.Start, err, r.Log())
		}
	}
}

func (r *Runtime) check() error {
	h := r.plan.Health
	addr := fmt.Sprintf("127.0.0.1:%d", r.Ports[h.Port])
	if h.Kind != cartridge.HealthHTTP {
		conn, err := net.DialTimeout("tcp", addr, h.Timeout)
		if err != nil {
			return err
		}
		defer conn.Close()
		if h.Kind == cartridge.HealthGreeting {
			if err := conn.SetDeadline(time.Now().Add(h.Timeout)); err != nil {
				return err
			}
			_, err = conn.Read(make([]byte, 512))
		}
		return err
	}
	client := http.Client{Timeout: h.Timeout, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: noRedirect}
	resp, err := client.Get("http://" + addr + h.Path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("GET %s: %s", h.Path, resp.Status)
	}
	return nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get asks for a path and returns status and body. It follows no redirect.
func (r *Runtime) Get(path string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+path, nil)
	require.NoError(r.t, err)
	resp, body := r.Do(req)
	return resp.StatusCode, body
}

// Do sends a request and returns the answer and its body.
func (r *Runtime) Do(req *http.Request) (*http.Response, string) {
	r.t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: noRedirect}
	resp, err := client.Do(req)
	require.NoError(r.t, err, "%s", r.Log())
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp, string(body)
}

// Header asks for a path and returns the header of the answer.
func (r *Runtime) Header(path string) http.Header {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+path, nil)
	require.NoError(r.t, err)
	resp, _ := r.Do(req)
	return resp.Header
}
