package autoscaletest

import (
	"errors"
	"slices"
	"time"

	"github.com/gostratos/stratos/autoscale"
)

const (
	interval   = 5 * time.Second
	history    = 120 // samples that an observation holds
	slots      = 10  // requests that a member serves at a time
	serviceSec = 0.2 // seconds that a request takes
)

// cluster is a simulated cluster under a policy. One step is one interval.
type cluster struct {
	policy   autoscale.Policy
	min, max int
	boot     int // rounds that a member takes until it serves

	now     time.Time
	active  int
	pending []int // rounds left, oldest first
	drain   int   // members that began to drain in the last round
	want    int
	samples []autoscale.Sample

	starts, stops int // of members
	changes       int // of the want
	errs          []error
}

// newCluster is a cluster of active members whose bounds are 1 and 40.
func newCluster(newPolicy func() autoscale.Policy, active int) *cluster {
	p := newPolicy()
	if l, ok := p.(autoscale.Learner); ok {
		p = l.Learn()
	}
	return &cluster{
		policy: p, min: 1, max: 40, active: active, want: active,
		now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
	}
}

// run takes n steps under a load and returns the sizes wanted after each.
func (c *cluster) run(n int, load func(round int) float64) []int {
	sizes := make([]int, n)
	for i := range sizes {
		c.step(c.sample(load(i)))
		sizes[i] = c.want
	}
	return sizes
}

// steady is a load that stays.
func steady(inFlight float64) func(int) float64 { return func(int) float64 { return inFlight } }

// sample is what a load looks like: so many in flight, all of them served.
func (c *cluster) sample(load float64) autoscale.Sample {
	requests := load / serviceSec * interval.Seconds()
	s := autoscale.Sample{Interval: interval, InFlight: load, Arrivals: requests, Served: requests}
	if c.active > 0 {
		s.LoadAverage = load / slots / float64(c.active)
	}
	return s
}

// step lets an interval pass that looked like s, and has the policy decide.
func (c *cluster) step(s autoscale.Sample) {
	c.see(s)
	c.decide()
}

// see lets an interval pass that looked like s.
func (c *cluster) see(s autoscale.Sample) {
	c.pass()
	s.At = c.now
	c.samples = append(c.samples, s)
	c.samples = c.samples[max(0, len(c.samples)-history):]
}

// stepBlind lets an interval pass of which nothing is known.
func (c *cluster) stepBlind() {
	c.pass()
	c.samples = nil
	c.decide()
}

// pass lets an interval pass for the members.
func (c *cluster) pass() {
	c.now = c.now.Add(interval)
	c.drain = 0
	for i := range c.pending {
		c.pending[i]--
	}
	for len(c.pending) > 0 && c.pending[0] <= 0 {
		c.pending, c.active = c.pending[1:], c.active+1
	}
}

// observation is what the policy is given.
func (c *cluster) observation() *autoscale.Observation {
	return &autoscale.Observation{
		Cluster: "kit.cluster", Now: c.now, Interval: interval,
		Min: c.min, Max: c.max, Want: c.want,
		Members: autoscale.Members{Active: c.active, Pending: len(c.pending), Draining: c.drain},
		Samples: slices.Clip(c.samples),
	}
}

// decide asks the policy and does what it says, as the Scaler would, but that
// a size out of bounds is not clamped: [staysWithinBounds] looks for those.
func (c *cluster) decide() {
	rec, err := c.policy.Recommend(c.observation())
	if err != nil {
		if !errors.Is(err, autoscale.ErrNoData) {
			c.errs = append(c.errs, err)
		}
		return
	}
	if rec.Size != c.want {
		c.changes++
	}
	c.want = rec.Size
	c.follow()
}

// follow starts or stops members until the supply is what is wanted.
func (c *cluster) follow() {
	for c.active+len(c.pending) < min(c.want, 10*c.max) {
		c.starts++
		if c.boot == 0 {
			c.active++
		} else {
			c.pending = append(c.pending, c.boot)
		}
	}
	for c.active+len(c.pending) > max(c.want, 0) {
		c.stops++
		if n := len(c.pending); n > 0 {
			c.pending = c.pending[:n-1]
		} else {
			c.active, c.drain = c.active-1, c.drain+1
		}
	}
}
