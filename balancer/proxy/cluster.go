package proxy

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// cluster is what the proxy knows of a cluster beyond one table: its targets,
// who is busy, who waits. It lives as long as a table has it or a request is
// in it, so that counts survive changes of the table.
//
// One lock guards all of it. A request is counted on its target in the same
// critical section that picks it, and Apply changes the rotation under the
// same lock: once Apply has taken a target out, a request either was counted
// on it before, or cannot get it any more.
type cluster struct {
	id       topology.ClusterID
	avoidFor time.Duration // of a target whose dial failed

	mu       sync.Mutex
	listed   bool // in the applied table
	vacant   bool // and nobody needs to wait for a member of it
	targets  map[balancer.TargetID]*target
	rotation []*target     // those that take new requests, in the table's order
	next     int           // where the next pick begins
	changed  chan struct{} // closed and replaced when waiting requests should look again

	inFlight gauge
	queued   gauge
	arrivals uint64
	served   uint64
	errors   uint64
}

func newCluster(id topology.ClusterID, avoidFor time.Duration) *cluster {
	return &cluster{id: id, avoidFor: avoidFor, targets: map[balancer.TargetID]*target{}, changed: make(chan struct{})}
}

// set makes the targets those of a table and wakes who waits for one. It
// returns the transports of targets that left the rotation.
func (c *cluster) set(spec *balancer.Cluster, connect func(serverName string) *http.Transport) []*http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.rotation
	c.listed, c.vacant, c.rotation = true, spec.Vacant, nil
	for _, t := range c.targets {
		t.listed, t.rotates = false, false
	}
	for _, spec := range spec.Targets {
		t := c.targets[spec.TargetID]
		if t == nil {
			t = &target{id: spec.TargetID, transport: connect(spec.ServerName()), name: spec.ServerName()}
			c.targets[spec.TargetID] = t
		}
		t.spec, t.listed, t.rotates = spec, true, !spec.Draining
		t.tls.Store(spec.TLS)
		if t.rotates {
			c.rotation = append(c.rotation, t)
		}
	}
	return c.settle(before)
}

// unlist takes the cluster out of the table: no request gets a target here any
// more. It returns the transports of targets that left the rotation, and
// whether nothing is left in the cluster.
func (c *cluster) unlist() (left []*http.Transport, empty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.rotation
	c.listed, c.rotation = false, nil
	for _, t := range c.targets {
		t.listed, t.rotates = false, false
	}
	return c.settle(before), c.inFlight.n == 0 && c.queued.n == 0
}

// settle ends a change of the rotation; the lock is held.
func (c *cluster) settle(before []*target) (left []*http.Transport) {
	for _, t := range before {
		if !t.rotates {
			left = append(left, t.transport)
		}
	}
	maps.DeleteFunc(c.targets, func(_ balancer.TargetID, t *target) bool { return !t.listed && t.inFlight == 0 })
	close(c.changed)
	c.changed = make(chan struct{})
	return left
}

// release ends what take began. The request was answered by its member, or
// with an answer that the balancer made up, or, if neither, by nobody.
func (c *cluster) release(t *target, served, madeUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight.add(-1, time.Now())
	c.leave(t)
	if served {
		c.served++
	}
	if madeUp {
		c.errors++
	}
}

// leave takes a request off its target; the lock is held.
func (c *cluster) leave(t *target) {
	t.inFlight--
	if !t.listed && t.inFlight == 0 {
		delete(c.targets, t.id)
	}
}

// move takes a request from its target to one that was not tried yet. It
// returns nil, and leaves the request where it is, if there is none.
func (c *cluster) move(from *target, port string, tried []*target) (*target, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to, address := c.pick(port, tried, time.Now())
	if to != nil {
		c.leave(from)
		to.inFlight++
	}
	return to, address
}

// failed notes that a target could not be dialled, and reports whether that is news.
func (c *cluster) failed(t *target) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.avoid = time.Now().Add(c.avoidFor)
	return !t.failing.Swap(true)
}

// drained reports whether a target is out of rotation and idle.
func (c *cluster) drained(id balancer.TargetID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[id]
	return t == nil || !t.rotates && t.inFlight == 0
}

// stats reads the counts. At is read under the lock: the integrals are exact for it.
func (c *cluster) stats() balancer.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	s := balancer.Stats{
		At:       now,
		InFlight: c.inFlight.n, InFlightTime: c.inFlight.at(now),
		Queued: c.queued.n, QueuedTime: c.queued.at(now),
		Arrivals: c.arrivals, Served: c.served, Errors: c.errors,
		InFlightTargets: make(map[balancer.TargetID]int, len(c.targets)),
	}
	for id, t := range c.targets {
		s.InFlightTargets[id] = t.inFlight
	}
	return s
}

// transports returns the connections of every target.
func (c *cluster) transports() []*http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*http.Transport
	for _, t := range c.targets {
		all = append(all, t.transport)
	}
	return all
}
