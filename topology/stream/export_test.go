package stream

import (
	"context"
	"time"

	"github.com/gostratos/stratos/topology"
)

// ParseFrame parses one line of a stream.
func ParseFrame(line []byte) error {
	_, err := parseFrame(line)
	return err
}

// ParseFile reads a client's file and says how many records it has.
func ParseFile(b []byte, scope Scope) (int, error) {
	s, err := parseFile(b, scope)
	if err != nil {
		return 0, err
	}
	var r replica
	r.begin(&topology.Latest{}, time.Minute, nil)
	if err := r.restore(s); err != nil {
		return 0, err
	}
	return r.view.Digest().N(), nil
}

// FormatFile writes a client's file.
func FormatFile(v *topology.View, scope Scope, id string) ([]byte, error) {
	return formatFile(v, scope, id)
}

// ETagRoundTrip parses an entity tag and writes it again.
func ETagRoundTrip(s string) (string, bool) {
	e, ok := parseETag(s)
	return e.String(), ok
}

// Doubt is the half rule.
type Doubt struct{ d doubt }

// Refuses asks the rule.
func (d *Doubt) Refuses(before, after *topology.View, now time.Time) error {
	d.d.patience = time.Minute
	return d.d.refuses(before, after, now)
}

// Fold feeds lines to a client's copy, as a stream would, and returns the
// views that readers get.
func Fold(lines [][]byte) (shown []*topology.View) {
	c := &Client{}
	c.copy.begin(&c.latest, time.Minute, c.log())
	s := session{client: c}
	for _, line := range lines {
		f, err := parseFrame(line)
		if err == nil {
			err = s.take(&f)
		}
		if err != nil {
			s.snap = snapReader{} // the next stream
		}
		if v := c.copy.shown; v != nil && (len(shown) == 0 || shown[len(shown)-1] != v) {
			shown = append(shown, v)
		}
	}
	return shown
}

// AllLines returns the encoded snapshot of everything that the server shares.
func (s *Server) AllLines(ctx context.Context) ([]byte, error) {
	snap, err := s.snapshots.get(ctx, s, snapshotKey{media: typeLines}, 0)
	if err != nil {
		return nil, err
	}
	return snap.body, nil
}

// Subscribers counts the streams that are served.
func (s *Server) Subscribers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay == nil {
		return 0
	}
	return s.relay.users
}

// Relay is what the server's subscribers share.
type Relay struct {
	r *relay
	f map[Scope]*feed
}

// NewRelay makes one at a view, with a feed for each scope.
func NewRelay(v *topology.View, scopes ...Scope) *Relay {
	r := &Relay{r: newRelay(nil, 0, v), f: map[Scope]*feed{}}
	for _, s := range scopes {
		r.f[s] = r.r.enter(s)
	}
	return r
}

// Publish tells it of a newer view, and returns the scopes whose subscribers
// woke, with the frame that they share.
func (r *Relay) Publish(v *topology.View) (map[string]string, error) {
	before := map[Scope]chan struct{}{}
	for s, f := range r.f {
		before[s] = f.wake
	}
	if err := r.r.publish(v); err != nil {
		return nil, err
	}
	woken := map[string]string{}
	for s, f := range r.f {
		select {
		case <-before[s]:
			woken[s.String()] = string(f.ring[len(f.ring)-1].line)
		default:
		}
	}
	return woken, nil
}

// Digest is the digest of a scope.
func (r *Relay) Digest(s Scope) topology.Digest { return r.f[s].digest }
