package autoscaletest

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/gostratos/stratos/autoscale"
)

// settling is how many rounds a policy has to come to rest: an hour.
const settling = 720

// loads are what constant loads are tried with: requests in flight.
func loads() []float64 { return []float64{0, 3, 21, 45, 70.5, 133} }

// varied is a load with everything in it, the same every time.
func varied(round int) float64 {
	x := float64(round)
	v := 60 + 50*math.Sin(x/40) + 15*math.Sin(x/3.7)
	switch {
	case round%211 < 12:
		v *= 2.5 // a crowd
	case round%307 < 70:
		v = 0
	}
	return max(0, v)
}

// isDeterministic: the same observations get the same answers.
func isDeterministic(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	a, b := newCluster(newPolicy, 2), newCluster(newPolicy, 2)
	a.boot, b.boot = 3, 3
	sizes, again := a.run(1000, varied), b.run(1000, varied)
	if i := differ(sizes, again); i >= 0 {
		t.Fatalf("round %d: recommended %d, and %d for the same observations", i, sizes[i], again[i])
	}
	noFailure(t, a)
}

// staysWithinBounds: no size is below the minimum or above the maximum.
func staysWithinBounds(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, bounds := range [][2]int{{1, 5}, {0, 3}, {2, 2}, {4, 40}, {0, 0}} {
		for _, active := range []int{0, bounds[0], bounds[1], bounds[1] + 6} {
			c := newCluster(newPolicy, active)
			c.min, c.max, c.want = bounds[0], bounds[1], max(bounds[0], min(active, bounds[1]))
			for i, load := range []func(int) float64{steady(0), steady(1e6), varied, steady(0)} {
				for round, size := range c.run(200, load) {
					if size < c.min || size > c.max {
						t.Fatalf("load %d, round %d: recommended %d, bounds are %d to %d", i, round, size, c.min, c.max)
					}
				}
			}
			noFailure(t, c)
		}
	}
}

// countsPending: members take ten rounds to boot, the load stays; as many are
// started as the cluster has in the end, not once more for every round that
// passes until they serve.
func countsPending(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, load := range loads() {
		c := newCluster(newPolicy, 1)
		c.boot = 10
		c.run(settling, steady(load))
		supply := c.active + len(c.pending)
		if c.starts != supply-1 || c.stops > 0 {
			t.Fatalf("%g in flight and a boot of ten rounds: %d members started and %d stopped on the way from 1 to %d",
				load, c.starts, c.stops, supply)
		}
		noFailure(t, c)
	}
}

// constantLoadSettles: from above and from below, a size is found and kept.
func constantLoadSettles(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, load := range loads() {
		for _, active := range []int{1, 25} {
			c := newCluster(newPolicy, active)
			c.boot = 2
			c.run(settling, steady(load))
			before := c.changes
			c.run(settling, steady(load))
			if n := c.changes - before; n > 0 {
				t.Fatalf("%g in flight, from %d members: still %d changes of the size in the second hour", load, active, n)
			}
			noFailure(t, c)
		}
	}
}

// swingStartsAreBounded: a load that swings by 2 % around some level, whatever
// a policy's thresholds are, does not start members over and over.
func swingStartsAreBounded(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	const most = 12 // an hour
	for level := 5.; level <= 80; level++ {
		c := newCluster(newPolicy, 1)
		swing := func(round int) float64 {
			if round%6 < 3 {
				return level * 1.02
			}
			return level * .98
		}
		c.run(settling/4, swing)
		before := c.starts
		c.run(settling, swing)
		if n := c.starts - before; n > most {
			t.Fatalf("%g in flight, 2 %% up and down: %d starts an hour, the most is %d", level, n, most)
		}
		noFailure(t, c)
	}
}

// missingSamplesHold: without samples the size stays, for a policy that saw
// some before as for one that never did.
func missingSamplesHold(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	fresh := newCluster(newPolicy, 4)
	fresh.min = 0
	for range history {
		fresh.stepBlind()
		if fresh.want != 4 {
			t.Fatalf("no samples ever: 4 members became %d", fresh.want)
		}
	}
	noFailure(t, fresh)
	for _, load := range loads()[1:] {
		c := newCluster(newPolicy, 2)
		c.run(settling, steady(load))
		c.min = 0
		before := c.want
		for round := range history {
			c.stepBlind()
			if c.want != before {
				t.Fatalf("%g in flight, then %d rounds without samples: %d members became %d", load, round+1, before, c.want)
			}
		}
		noFailure(t, c)
	}
}

// badSamplesHold: a signal that is no number, infinite or negative changes nothing.
func badSamplesHold(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e6} {
		for _, load := range loads()[1:] {
			c := newCluster(newPolicy, 2)
			c.run(settling, steady(load))
			before := c.want
			for round := range history + 5 {
				c.step(autoscale.Sample{
					Interval: interval, InFlight: bad, Queue: bad, Arrivals: bad, Served: bad, LoadAverage: bad, Memory: bad,
				})
				if c.want != before {
					t.Fatalf("%g in flight, then %d samples of %g: %d members became %d", load, round+1, bad, before, c.want)
				}
			}
			noFailure(t, c)
		}
	}
}

// doesNotMutate: the observation belongs to the caller.
func doesNotMutate(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	c := newCluster(newPolicy, 2)
	c.run(history, varied)
	for round := range 3 * history {
		c.see(c.sample(varied(round)))
		o := withMetrics(c.observation())
		same := withMetrics(c.observation())
		if _, err := c.policy.Recommend(o); err != nil && !errors.Is(err, autoscale.ErrNoData) {
			c.errs = append(c.errs, err)
		}
		if !reflect.DeepEqual(o, same) {
			t.Fatalf("round %d: the policy changed its observation", round)
		}
	}
	noFailure(t, c)
}

// withMetrics makes an observation that shares nothing with another.
func withMetrics(o *autoscale.Observation) *autoscale.Observation {
	o.Samples = slices.Clone(o.Samples)
	o.Metrics = map[string][]autoscale.Metric{"lag": {{At: o.Now.Add(-interval), Value: 7}, {At: o.Now, Value: 3}}}
	return o
}

// clockJumpIsHarmless: the clock is set an hour forward or back, and the load
// stays as it was: the size does, too.
func clockJumpIsHarmless(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 30 * time.Second, -30 * time.Second} {
		for _, load := range loads()[1:] {
			c := newCluster(newPolicy, 2)
			c.run(settling, steady(load))
			c.min = 0
			c.run(history, steady(load))
			before := c.want
			c.now = c.now.Add(jump)
			for round, size := range c.run(settling, steady(load)) {
				if size != before {
					t.Fatalf("%g in flight, %d rounds after the clock jumped by %v: %d members became %d", load, round, jump, before, size)
				}
			}
			noFailure(t, c)
		}
	}
}

// memorySurvivesSaving: a memory that is saved and restored now and then goes on
// as if nothing had happened. A policy that does not learn has nothing to save.
func memorySurvivesSaving(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	learner, ok := newPolicy().(autoscale.Learner)
	if !ok {
		return
	}
	kept, moved := newCluster(newPolicy, 2), newCluster(newPolicy, 2)
	for round := range 2 * settling {
		if round%45 == 44 {
			moved.policy = restored(t, learner, moved.policy)
		}
		kept.step(kept.sample(varied(round)))
		moved.step(moved.sample(varied(round)))
		if kept.want != moved.want {
			t.Fatalf("%d rounds after the memory was restored: recommended %d instead of %d", round%45-43, moved.want, kept.want)
		}
	}
}

// restored returns a fresh memory with what the old one saved.
func restored(t TB, learner autoscale.Learner, old autoscale.Policy) autoscale.Memory {
	t.Helper()
	saved, err := old.(autoscale.Memory).MarshalBinary()
	if err != nil {
		t.Fatalf("saving the memory: %v", err)
	}
	fresh := learner.Learn()
	if err := fresh.UnmarshalBinary(slices.Clone(saved)); err != nil {
		t.Fatalf("restoring the memory: %v", err)
	}
	return fresh
}

// memoriesShareNothing: what one cluster goes through is nothing to another.
func memoriesShareNothing(t TB, newPolicy func() autoscale.Policy) {
	t.Helper()
	learner, ok := newPolicy().(autoscale.Learner)
	if !ok {
		return
	}
	same := func() autoscale.Policy { return learner }
	alone := newCluster(newPolicy, 2).run(settling, varied)
	a, b := newCluster(same, 2), newCluster(same, 2)
	for round, size := range alone {
		b.step(b.sample(133 - varied(round)/4))
		a.step(a.sample(varied(round)))
		if a.want != size {
			t.Fatalf("round %d: recommended %d instead of %d, because of another cluster", round, a.want, size)
		}
	}
}

// differ returns the first position at which a and b differ, or -1.
func differ(a, b []int) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// noFailure fails if the policy returned any error but ErrNoData: of settings
// that work and observations that can be, there is no other.
func noFailure(t TB, c *cluster) {
	t.Helper()
	if len(c.errs) > 0 {
		t.Fatalf("the policy failed %d times, first: %v", len(c.errs), c.errs[0])
	}
}
