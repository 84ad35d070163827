package stratos

import (
	"context"
	"time"

	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// sampleEvery is how often the balancer's counts become samples, at least: a
// source may not be silent for two scaling intervals.
const sampleEvery = time.Second

// sample turns the balancer's counts into reports for the scaler, until ctx ends.
func (p *Platform) sample(ctx context.Context, stats balancer.StatReader) error {
	tick := time.NewTicker(min(sampleEvery, p.cfg.Interval/2))
	defer tick.Stop()
	last := stats.Stats()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := stats.Stats()
		for c, s := range now {
			before, ok := last[c]
			if !ok {
				continue // its counts began in between
			}
			if err := p.recorder.Record(reportOf(c, before, s)); err != nil {
				p.log().Warn("sample", "cluster", c, "err", err)
			}
		}
		last = now
	}
}

// reportOf is what happened between two readings.
func reportOf(c topology.ClusterID, a, b balancer.Stats) autoscale.Report {
	return autoscale.Report{
		// The number is a time, so that it grows over restarts too.
		Source: "proxy", Seq: uint64(b.At.UnixNano()), Cluster: c,
		Seconds:         b.At.Sub(a.At).Seconds(),
		InFlightSeconds: (b.InFlightTime - a.InFlightTime).Seconds(),
		QueueSeconds:    (b.QueuedTime - a.QueuedTime).Seconds(),
		Queue:           b.Queued,
		Arrivals:        float64(b.Arrivals - a.Arrivals),
		Served:          float64(b.Served - a.Served),
	}
}
