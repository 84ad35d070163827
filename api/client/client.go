// Package client calls the control plane's API from Go: from balancers,
// commands and programs.
//
// A [Client] knows several replicas and asks the one that answered last first.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
)

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 8 << 20

// Error is an answer of the control plane that is not a success.
type Error struct {
	Path string
	Code int    // the HTTP status
	Text string // what it said
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: the control plane answers %d %s: %s", e.Path, e.Code, http.StatusText(e.Code), e.Text)
}

// Client calls the control plane. Its fields are set before the first call;
// its methods may be called concurrently.
type Client struct {
	URLs  []string // of the replicas; at least one
	Token string   // secret: goes into a header and nowhere else
	// HTTP makes the requests. Default: http.DefaultClient.
	HTTP *http.Client
	// Timeout of one request to one replica. Default 10 s.
	Timeout time.Duration

	last atomic.Int64 // index of the replica that answered last
}

// Post sends in as JSON and reads the answer into out; nil: nothing to send,
// or to read. Each replica is asked once, until one answers; an answer that
// every replica would give (4xx) is an [*Error] at once.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.Do(ctx, http.MethodPost, path, in, out)
}

// Do is [Client.Post] with any method.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	return c.doWithin(ctx, cmp.Or(c.Timeout, 10*time.Second), method, path, in, out)
}

// doWithin is Do with another time for each replica.
func (c *Client) doWithin(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if in == nil {
		body = nil
	}
	return c.each(ctx, func(base string) error { return c.exchange(ctx, limit, method, base, path, body, out) })
}

// each asks one replica after the other, until one answers.
func (c *Client) each(ctx context.Context, ask func(base string) error) error {
	if len(c.URLs) == 0 {
		return errors.New("no control plane: give the URL of a replica")
	}
	var errs []error
	first := int(c.last.Load())
	for i := range c.URLs {
		at := (first + i) % len(c.URLs)
		err := ask(strings.TrimSuffix(c.URLs[at], "/"))
		if err == nil {
			c.last.Store(int64(at))
			return nil
		}
		errs = append(errs, err)
		var e *Error
		if errors.As(err, &e) && e.Code/100 == 4 || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// send sends one request with the token.
func (c *Client) send(ctx context.Context, method, url string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return cmp.Or(c.HTTP, http.DefaultClient).Do(req)
}

func (c *Client) exchange(ctx context.Context, limit time.Duration, method, base, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.send(ctx, method, base+path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // read to its end or given up
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case resp.StatusCode/100 != 2:
		return &Error{Path: path, Code: resp.StatusCode, Text: textOf(answer)}
	case len(answer) > maxAnswer:
		return fmt.Errorf("%s: the answer is over %d bytes", path, maxAnswer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer of %s: %w", path, err)
	}
	return nil
}

// textOf is what an error's body says, in one short line.
func textOf(body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = strings.ToValidUTF8(string(body[:min(len(body), 512)]), "")
	}
	return strings.Join(strings.Fields(e.Error), " ")
}

// Samples sends what was seen of clusters.
func (c *Client) Samples(ctx context.Context, reports []autoscale.Report) error {
	return c.Post(ctx, "/v1/samples", reports, nil)
}

// BalancerStatus says how a balancer is.
func (c *Client) BalancerStatus(ctx context.Context, s balancer.Status) error {
	return c.Post(ctx, "/v1/balancers", s, nil)
}

// BalancerCertificate asks for the certificate with which a balancer shows
// itself to instances. The answer is a chain, PEM; it is empty if the platform
// has no authority, and its instances are on loopback.
func (c *Client) BalancerCertificate(ctx context.Context, name string, csr []byte) ([]byte, error) {
	var out struct {
		Certificate []byte `json:"certificate"`
	}
	in := struct {
		Name string `json:"name"`
		CSR  []byte `json:"csr"`
	}{name, csr}
	err := c.Post(ctx, "/v1/balancers/certificate", in, &out)
	return out.Certificate, err
}
