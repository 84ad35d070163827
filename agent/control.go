package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

const (
	// callTimeout is of one call to one replica. With one of three cut off, a
	// status is heard well within a heartbeat; with two, within three.
	callTimeout = 8 * time.Second
	maxAnswer   = 8 << 20 // bytes of a JSON answer
)

// statusError is an answer of the control plane that is not a success.
type statusError struct {
	path string
	code int
	text string // what it said, one short line
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("the control plane answers %s with %d %s", e.path, e.code, http.StatusText(e.code))
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// answered reports whether err is an answer with one of the codes.
func answered(err error, codes ...int) bool {
	var e *statusError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.code == c {
			return true
		}
	}
	return false
}

// control calls the control plane: any of its replicas, the one that answered
// last first.
type control struct {
	urls   []string
	http   *http.Client // signs
	plain  *http.Client // for the join, which has nothing to sign with
	member wire.UserData
	clock  *clock
	last   atomic.Int64 // index of the replica that answered last
}

// newControl makes a caller out of the agent's client, whose Timeout does not
// count: calls and streams have deadlines of their own. Redirects are not
// followed: a signature is for whom it was made.
func newControl(u wire.UserData, client *http.Client, key ed25519.PrivateKey, now *clock) *control {
	base := client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &control{
		urls:   u.Control,
		member: u,
		clock:  now,
		plain:  &http.Client{Transport: base, CheckRedirect: stay},
		http: &http.Client{
			Transport:     &signing{base: base, cluster: u.Cluster, member: u.Member, key: key, clock: now},
			CheckRedirect: stay,
		},
	}
}

// call sends in (nil: nothing) as JSON and reads the answer into out (nil: it
// is passed over). It asks each replica once, until one answers; an answer that
// another replica would give as well (4xx) is a *statusError at once.
func (c *control) call(ctx context.Context, client *http.Client, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return c.each(func(base string) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return exchange(ctx, client, method, base, path, body, out)
	})
}

// each tries do with every replica, the one that answered last first, until
// one succeeds or says something final.
func (c *control) each(do func(base string) error) error {
	if len(c.urls) == 0 {
		return errors.New("the user-data names no control plane")
	}
	var errs []error
	first := int(c.last.Load())
	for i := range c.urls {
		at := (first + i) % len(c.urls)
		err := do(strings.TrimSuffix(c.urls[at], "/"))
		if err == nil {
			c.last.Store(int64(at))
			return nil
		}
		errs = append(errs, err)
		var e *statusError
		if errors.As(err, &e) && e.code/100 == 4 && e.code != http.StatusTooManyRequests && e.code != http.StatusRequestTimeout {
			return err
		}
	}
	return errors.Join(errs...)
}

func exchange(ctx context.Context, client *http.Client, method, base, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // read to its end or given up
	if resp.StatusCode/100 != 2 {
		return newStatusError(path, resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer of %s: %w", path, err)
	case len(answer) > maxAnswer:
		return fmt.Errorf("the answer of %s is over %d bytes", path, maxAnswer)
	case out == nil || resp.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer of %s: %w", path, err)
	}
	return nil
}

func newStatusError(path string, resp *http.Response) *statusError {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 512))
	if err != nil {
		text = nil // the code alone says enough
	}
	return &statusError{path: path, code: resp.StatusCode, text: strings.Join(strings.Fields(string(text)), " ")}
}
