package stratos

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

const (
	// sampleEvery is how often a balancer's counts become samples, at least: a
	// source may not be silent for two scaling intervals.
	sampleEvery = time.Second
	// maxReports is the most reports in one call.
	maxReports = 1000
	// maxSpan is the longest time that a report covers.
	maxSpan = time.Minute
)

// edge runs a balancer, in the control plane's process or in its own: it keeps
// the backend at what the topology says, and tells the leader what goes on.
type edge struct {
	name    string
	source  topology.Source
	backend balancer.Backend
	every   time.Duration // between two reports
	// samples and status bring to the leader what the balancer says; status may
	// be nil. What could not be brought is made up for by the next report.
	samples func(context.Context, []autoscale.Report) error
	status  func(context.Context, balancer.Status) error
	log     *slog.Logger

	began   time.Time // of report
	applied atomic.Pointer[balancer.Table]
}

var _ balancer.Backend = (*edge)(nil)

// Apply implements [balancer.Backend]: the backend's own, and the table is remembered.
func (e *edge) Apply(ctx context.Context, t *balancer.Table) error {
	err := e.backend.Apply(ctx, t)
	if err == nil {
		e.applied.Store(t)
	}
	return err
}

// run runs the balancer until ctx ends.
func (e *edge) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	sync := &balancer.Sync{Source: e.source, Backend: e, Log: e.log}
	g.Go(func() error { return sync.Run(ctx) })
	g.Go(func() error { return e.report(ctx) })
	return g.Wait()
}

// report says what goes on, until ctx ends.
func (e *edge) report(ctx context.Context) error {
	stats, counts := e.backend.(balancer.StatReader)
	drainer, drains := e.backend.(balancer.Drainer)
	if !counts && !(drains && e.status != nil) {
		return nil
	}
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	e.began = time.Now()
	last := map[topology.ClusterID]balancer.Stats{}
	if counts {
		maps.Copy(last, stats.Stats())
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if drains && e.status != nil {
			s := balancer.Status{Name: e.name, Seq: e.seq(time.Now()), Drained: balancer.DrainedOf(e.applied.Load(), drainer)}
			s.Drained = s.Drained[:min(len(s.Drained), balancer.MaxDrained)]
			e.failed(ctx, "status", e.status(ctx, s))
		}
		if !counts {
			continue
		}
		e.failed(ctx, "samples", e.sample(ctx, last, stats.Stats()))
	}
}

// sample brings to the leader what happened since the last reading, of each
// cluster, that it knows. What is long ago is of no use to it any more.
func (e *edge) sample(ctx context.Context, last, now map[topology.ClusterID]balancer.Stats) error {
	maps.DeleteFunc(last, func(c topology.ClusterID, _ balancer.Stats) bool { _, ok := now[c]; return !ok })
	var reports []autoscale.Report
	for c, s := range now {
		if before, ok := last[c]; ok && s.At.Sub(before.At) < maxSpan {
			reports = append(reports, e.reportOf(c, before, s))
		} else {
			last[c] = s // its counts began in between, or it could not be told for long
		}
	}
	var errs []error
	for some := range slices.Chunk(reports, maxReports) {
		err := e.samples(ctx, some)
		errs = append(errs, err)
		var refused *client.Error
		if err != nil && !(errors.As(err, &refused) && refused.Code/100 == 4) {
			break // the next report covers this time too
		}
		for _, r := range some {
			last[r.Cluster] = now[r.Cluster]
		}
	}
	return errors.Join(errs...)
}

// seq numbers what happened at a time. It grows over restarts too, and while
// this process runs also when the clock is set back.
func (e *edge) seq(at time.Time) uint64 {
	return uint64(e.began.UnixNano() + int64(at.Sub(e.began)))
}

func (e *edge) failed(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		e.log.Debug("the balancer's "+what+" did not reach the leader", "balancer", e.name, "err", err)
	}
}

// reportOf is what happened between two readings.
func (e *edge) reportOf(c topology.ClusterID, a, b balancer.Stats) autoscale.Report {
	return autoscale.Report{
		Source: e.name, Seq: e.seq(b.At), Cluster: c,
		Seconds:         b.At.Sub(a.At).Seconds(),
		InFlightSeconds: (b.InFlightTime - a.InFlightTime).Seconds(),
		QueueSeconds:    (b.QueuedTime - a.QueuedTime).Seconds(),
		Queue:           b.Queued,
		Arrivals:        float64(b.Arrivals - a.Arrivals),
		Served:          float64(b.Served - a.Served),
	}
}
