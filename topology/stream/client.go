package stream

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// ErrGone says that the control plane wants nothing more to do with this
// client: the member it speaks for is terminated.
var ErrGone = errors.New("the control plane has let go of this client")

// maxFrame bounds one line of a stream.
const maxFrame = 256 << 20

// Client follows the topology of a control plane. It is a [topology.Source]:
// while the control plane is away, the last view stands.
type Client struct {
	URLs  []string     // of the control plane's replicas
	HTTP  *http.Client // adds the credentials; must have no Timeout. Default: http.DefaultClient
	Scope Scope

	// Silence is how long a stream may say nothing before it is taken for
	// broken. Default 45 s.
	Silence time.Duration
	// Retry is the longest pause before connecting again; it begins at a
	// hundredth of it and doubles, with jitter. Default 10 s.
	Retry time.Duration
	Log   *slog.Logger // default: none

	latest topology.Latest
	view   *topology.View // of the run loop
	store  string
}

var _ topology.Source = (*Client)(nil)

// Next implements [topology.Source].
func (c *Client) Next(ctx context.Context, after store.Revision) (*topology.View, error) {
	return c.latest.Next(ctx, after)
}

// Run follows the topology until ctx ends, over broken connections and
// replicas that come and go. It ends with ErrGone when the control plane
// answers 410. It is called once.
func (c *Client) Run(ctx context.Context) error {
	if len(c.URLs) == 0 {
		return errors.New("no address of a control plane")
	}
	longest := cmp.Or(c.Retry, 10*time.Second)
	wait := longest / 100
	for i := 0; ; i++ {
		frames, err := c.follow(ctx, c.URLs[i%len(c.URLs)])
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrGone):
			return err
		case frames > 1:
			wait = longest / 100
		}
		c.log().Debug("topology stream broken, connecting again", "err", err)
		if !pause(ctx, wait/2+rand.N(wait)) {
			return nil
		}
		wait = min(2*wait, longest)
	}
}

// follow reads one stream to its end and says how many frames it took.
func (c *Client) follow(ctx context.Context, base string) (frames int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := cmp.Or(c.Silence, 45*time.Second)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("silent for %v", silence)) })
	defer watchdog.Stop()

	body, err := c.open(ctx, base)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), maxFrame)
	for lines.Scan() {
		watchdog.Reset(silence)
		var f frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return frames, fmt.Errorf("topology stream: %w", err)
		}
		if f.T == frameBye {
			return frames, nil
		}
		if err := c.apply(f); err != nil {
			return frames, err
		}
		frames++
	}
	if cause := context.Cause(ctx); cause != nil {
		return frames, cause
	}
	return frames, lines.Err()
}

func (c *Client) open(ctx context.Context, base string) (io.ReadCloser, error) {
	u := strings.TrimSuffix(base, "/") + WatchPath + "?scope=" + url.QueryEscape(c.Scope.String())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	err = fmt.Errorf("topology stream: the control plane answers %s", resp.Status)
	if resp.StatusCode == http.StatusGone {
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil, errors.Join(err, resp.Body.Close())
}

// apply folds a frame in and publishes the view.
func (c *Client) apply(f frame) error {
	if f.T == frameSnap {
		if c.store != "" && f.Store != c.store {
			return fmt.Errorf("the control plane's store is %s, not %s any more", f.Store, c.store)
		}
		if c.view != nil && f.Rev < c.view.Rev {
			return fmt.Errorf("a snapshot of revision %d after %d: an old replica", f.Rev, c.view.Rev)
		}
		c.store = f.Store
	}
	v, err := fold(c.view, f)
	if err != nil {
		return err
	}
	c.view = v
	c.latest.Set(v)
	return nil
}

func (c *Client) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}
