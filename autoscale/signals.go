package autoscale

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// signals is what all sources said of one cluster. It is not safe for
// concurrent use: the Recorder's lock guards it.
type signals struct {
	sources map[string]*source
	load    series // of the members: the mean
	memory  series // of the members: the mean
	metrics map[string]*series
}

// record keeps a report or refuses it whole. It says whether a queue began.
func (g *signals) record(r *Report, now time.Time, k keep) (began bool, err error) {
	src := g.sources[r.Source]
	if src != nil && src.gone(now, src.last, 0, k) {
		delete(g.sources, r.Source) // it comes back as a new one: its numbers may begin anew
		src = nil
	}
	if src != nil && r.Seq <= src.seq {
		return false, nil
	}
	if err := g.admit(r, src == nil, now, k); err != nil {
		return false, err
	}
	if src == nil {
		src = &source{}
		if g.sources == nil {
			g.sources = map[string]*source{}
		}
		g.sources[r.Source] = src
	}
	began = r.queued() && !src.queued
	src.record(r, now, k)
	g.gauge(r, now, k)
	return began, nil
}

// admit makes room for what the report brings that is new, or refuses it.
func (g *signals) admit(r *Report, fresh bool, now time.Time, k keep) error {
	tooMany := func() bool { return fresh && len(g.sources) >= maxSources }
	if tooMany() || g.names(r) > maxMetrics {
		g.prune(now, 0, k)
	}
	if tooMany() {
		return fmt.Errorf("report of %q: there are %d sources, the most there may be", r.Source, maxSources)
	}
	if n := g.names(r); n > maxMetrics {
		return fmt.Errorf("report of %q: %d metrics with those there are, the most is %d", r.Source, n, maxMetrics)
	}
	return nil
}

// names counts the metrics with those of a report.
func (g *signals) names(r *Report) int {
	n := len(g.metrics)
	for name := range r.Metrics {
		if g.metrics[name] == nil {
			n++
		}
	}
	return n
}

// gauge keeps the report's values that hold until the next one.
func (g *signals) gauge(r *Report, now time.Time, k keep) {
	if r.LoadAverage > 0 {
		g.load.add(r.Source, r.LoadAverage, now, k)
		g.load.pushMean(now)
	}
	if r.Memory > 0 {
		g.memory.add(r.Source, r.Memory, now, k)
		g.memory.pushMean(now)
	}
	for name, v := range r.Metrics {
		s := g.metrics[name]
		if s == nil {
			if g.metrics == nil {
				g.metrics = map[string]*series{}
			}
			s = &series{}
			g.metrics[name] = s
		}
		s.add(r.Source, v, now, k)
		s.pushSum(now)
	}
}

// prune drops the sources that are gone and the metrics that nobody sends any more.
func (g *signals) prune(now time.Time, interval time.Duration, k keep) {
	for name, s := range g.sources {
		switch n := len(s.spans); {
		case s.gone(now, s.last, interval, k):
			delete(g.sources, name)
		case n > 0 && s.gone(now, s.spans[n-1].at, interval, k):
			s.spans = nil // it speaks, but no more of requests
		}
	}
	g.load.trim(now, k)
	g.memory.trim(now, k)
	for name, s := range g.metrics {
		if s.trim(now, k); len(s.points) == 0 {
			delete(g.metrics, name)
		}
	}
}

// samples makes samples of what was reported, oldest first.
func (g *signals) samples(now time.Time, interval time.Duration, k keep) []Sample {
	var live []*source
	for _, name := range slices.Sorted(maps.Keys(g.sources)) { // sums of floats depend on the order
		s := g.sources[name]
		if len(s.spans) == 0 {
			continue
		}
		if s.silent(now, interval, k) {
			return nil
		}
		live = append(live, s)
	}
	if len(live) == 0 {
		return nil
	}
	from := make([]int, len(live)) // where to go on looking, per source
	for i, s := range live {
		from[i] = len(s.spans) - 1
	}
	most := int(min(k.window/interval, math.MaxInt32))
	var out []Sample
	for len(out) < most {
		end := now.Add(-time.Duration(len(out)) * interval)
		s, ok := g.sample(live, from, end, interval, len(out) == 0, k)
		if !ok {
			break
		}
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

// sample is what the live sources did in the interval that ends at end. It is
// not ok if too little is known of that interval: a source was silent, or
// less than half of it is covered (any cover does for the newest: it may be
// that somebody has begun to wait).
func (g *signals) sample(live []*source, from []int, end time.Time, interval time.Duration, newest bool, k keep) (Sample, bool) {
	var total rates
	var most time.Duration
	for i, s := range live {
		r, seen, how := s.during(end, interval, &from[i], k)
		if how == unknown || how == absent && newest {
			return Sample{}, false
		}
		total.add(r, 1)
		most = max(most, seen)
	}
	if most == 0 || !newest && most < interval/2 {
		return Sample{}, false
	}
	return Sample{
		At:          end,
		Interval:    interval,
		InFlight:    total.inFlight,
		Queue:       total.queue,
		Arrivals:    total.arrivals * interval.Seconds(),
		Served:      total.served * interval.Seconds(),
		LoadAverage: g.load.value(end, k),
		Memory:      g.memory.value(end, k),
	}, true
}

// named returns the metrics; prune has dropped what is older than the window.
func (g *signals) named() map[string][]Metric {
	if len(g.metrics) == 0 {
		return nil
	}
	out := make(map[string][]Metric, len(g.metrics))
	for name, s := range g.metrics {
		out[name] = slices.Clone(s.points)
	}
	return out
}
