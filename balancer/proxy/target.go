package proxy

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/balancer"
)

// target is one address of a cluster, with connections of its own: they can be
// closed when it goes without touching anybody else's.
type target struct {
	id        balancer.TargetID
	transport *http.Transport
	name      string // whom it proves to be where it takes TLS

	tls atomic.Bool // it takes TLS; as the applied table says

	// failing: the last dial failed, and none succeeded since.
	failing atomic.Bool

	// Guarded by the cluster's lock.
	spec     balancer.Target
	listed   bool // in the applied table
	rotates  bool // listed and not draining
	inFlight int
	avoid    time.Time // while failing: until then, others are preferred
}

// scheme is how the target is spoken to.
func (t *target) scheme() string {
	if t.tls.Load() {
		return "https"
	}
	return "http"
}

// avoided reports whether another target should be preferred.
func (t *target) avoided(now time.Time) bool { return t.failing.Load() && now.Before(t.avoid) }

// before orders targets for picking: those that are avoided last, then the least in flight.
func (t *target) before(o *target, now time.Time) bool {
	if a, b := t.avoided(now), o.avoided(now); a != b {
		return b
	}
	return t.inFlight < o.inFlight
}

// pick chooses the target with the least in flight that has the port and was
// not tried, beginning after the last one chosen, so that equals take turns.
// The cluster's lock is held.
func (c *cluster) pick(port string, tried []*target, now time.Time) (*target, string) {
	var best *target
	var address string
	at := 0
	for i := range c.rotation {
		j := (c.next + i) % len(c.rotation)
		t := c.rotation[j]
		if slices.Contains(tried, t) || best != nil && !t.before(best, now) {
			continue
		}
		if a, ok := t.spec.Port(port); ok {
			best, address, at = t, a, j
		}
	}
	if best == nil {
		return nil, ""
	}
	if best.failing.Load() {
		// This request finds out whether it is back; the next ones wait for the result.
		best.avoid = now.Add(c.avoidFor)
	}
	c.next = at + 1
	return best, address
}
