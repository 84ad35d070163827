package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// ErrGone says that the control plane wants nothing more to do with this
// client: the member it speaks for is terminated.
var ErrGone = errors.New("the control plane has let go of this client")

// errLost says that what the client has may not be what the control plane has:
// the snapshot must be read.
var errLost = errors.New("topology stream: the place is lost")

// Client follows the topology of a control plane. It is a [topology.Source]:
// while the control plane is away, the last view stands.
//
// It goes on where it was, at any replica, and never goes back in revision. A
// frame that was lost on the way, or records that do not sum up to what the
// control plane says, make it read the snapshot. It refuses another platform's
// topology, an older generation of the store, and, for a while, a snapshot
// without most of the members that it knows (see Doubt).
type Client struct {
	URLs  []string     // of the control plane's replicas
	HTTP  *http.Client // adds the credentials; must have no Timeout. Default: http.DefaultClient
	Scope Scope

	// File keeps the last topology, for a start while the control plane is
	// away. One that is damaged, or of another scope, is passed over; one of
	// another platform, too, once the control plane answers. Default: none.
	File string

	// Silence is how long a stream may say nothing before it is taken for
	// broken. Default 45 s.
	Silence time.Duration
	// Retry is the longest pause before connecting again: a random part of a
	// time that begins at a hundredth of it and doubles. Default 10 s.
	Retry time.Duration
	// Refresh is the time, varied by a fifth, after which the snapshot is asked
	// for although nothing seems to be wrong. Default 10 min.
	Refresh time.Duration
	// Doubt is for how long snapshots are refused that are without more than
	// half of the active members, if there were ten or more, and do not say
	// why: the cluster is not removed, its want is not met by the rest, the
	// members' records are gone. Default 60 s.
	Doubt time.Duration
	Log   *slog.Logger // default: none

	latest topology.Latest
	copy   replica
}

var _ topology.Source = (*Client)(nil)

// Stats counts what a client went through since it was made.
type Stats struct {
	Frames     int // that were taken, of all kinds
	Snapshots  int // that were taken
	Refused    int // snapshots that were refused
	Mismatches int // digests that differed
	Lost       int // times that frames were missed, or a place was compacted away
}

// Stats returns the counters. It may be called at any time.
func (c *Client) Stats() Stats {
	c.copy.mu.Lock()
	defer c.copy.mu.Unlock()
	return c.copy.stats
}

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
	c.copy.begin(&c.latest, cmp.Or(c.Doubt, time.Minute), c.log())
	g, ctx := errgroup.WithContext(ctx)
	if c.File != "" {
		c.load()
		g.Go(func() error { return c.save(ctx) })
	}
	g.Go(func() error { return c.refresh(ctx) })
	g.Go(func() error { return c.stream(ctx) })
	return g.Wait()
}

// warnEvery is the least time between two warnings of a control plane that
// gives nothing: what is wrong stands in the log, but does not fill it.
const warnEvery = time.Minute

// stream keeps a stream open.
func (c *Client) stream(ctx context.Context) error {
	longest := cmp.Or(c.Retry, 10*time.Second)
	shortest := max(longest/100, 1)
	wait := shortest
	var warned time.Time
	for i := rand.N(len(c.URLs)); ; i++ {
		s := session{client: c, base: c.URLs[i%len(c.URLs)]}
		err := s.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrGone):
			return err
		case s.frames > 1:
			wait = shortest
		}
		level := slog.LevelDebug
		if s.frames == 0 && time.Since(warned) > warnEvery {
			level, warned = slog.LevelWarn, time.Now()
		}
		c.log().Log(ctx, level, "topology stream broken, connecting again; the last topology stands", "url", s.base, "err", err)
		if !pause(ctx, max(s.retry, rand.N(wait))) {
			return nil
		}
		wait = min(2*wait, longest)
	}
}

// refresh asks for the snapshot from time to time: most often the answer is
// that nothing is new.
func (c *Client) refresh(ctx context.Context) error {
	for pause(ctx, spread(cmp.Or(c.Refresh, 10*time.Minute), rand.N)) {
		s := session{client: c, base: c.URLs[rand.N(len(c.URLs))]}
		if err := s.read(ctx); err != nil && ctx.Err() == nil {
			c.log().Debug("topology snapshot", "url", s.base, "err", err)
		}
	}
	return nil
}

// session is one connection's worth of following.
type session struct {
	client *Client
	base   string
	frames int           // taken from the stream
	retry  time.Duration // what the server asked for
	snap   snapReader
}

// run reads the snapshot if the place is lost, then one stream to its end.
func (s *session) run(ctx context.Context) error {
	if s.client.copy.isLost() {
		var status *statusError
		err := s.read(ctx)
		if err != nil && (!errors.As(err, &status) || status.code != http.StatusNotFound) {
			return err
		} // a server that has no snapshots gives one in the stream
	}
	query := url.Values{"scope": {s.client.Scope.String()}}
	if id, rev := s.client.copy.place(); rev > 0 {
		query.Set("store", id)
		query.Set("after", strconv.FormatInt(int64(rev), 10))
	}
	s.snap = snapReader{}
	_, err := s.get(ctx, WatchPath+"?"+query.Encode(), nil, s.take)
	return err
}

// take takes one frame of the stream.
func (s *session) take(f *frame) error {
	if f.T == frameBye {
		s.retry = rand.N(time.Duration(min(max(f.RetryMs, 1), 60_000)) * time.Millisecond)
		return nil
	}
	s.frames++
	c := &s.client.copy
	if f.T == frameSnap {
		whole, err := s.snap.add(f)
		if err != nil || !whole {
			return err
		}
		return c.replace(&s.snap, time.Now())
	}
	if s.snap.open {
		return fmt.Errorf("%w: frame %q within a snapshot", errLost, f.T)
	}
	return c.fold(f)
}

// read asks for the snapshot, unless nothing is new.
func (s *session) read(ctx context.Context) error {
	c := &s.client.copy
	header := http.Header{"Accept": {typeLines}}
	had, ok := c.etag()
	if ok {
		header.Set("If-None-Match", had.String())
	}
	s.snap = snapReader{}
	path := SnapshotPath + "?scope=" + url.QueryEscape(s.client.Scope.String())
	whole := false
	resp, err := s.get(ctx, path, header, func(f *frame) (err error) {
		if f.T != frameSnap || whole {
			return fmt.Errorf("topology snapshot: a frame %q too much", f.T)
		}
		whole, err = s.snap.add(f)
		return err
	})
	switch {
	case err != nil:
		return err
	case resp.status == http.StatusNotModified:
		return c.unchanged(had, resp.etag)
	case !whole:
		return errors.New("topology snapshot: it breaks off")
	}
	return c.replace(&s.snap, time.Now())
}

func (c *Client) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// address joins the control plane's address and a path.
func address(base, path string) string { return strings.TrimSuffix(base, "/") + path }
