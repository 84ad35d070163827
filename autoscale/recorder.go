package autoscale

import (
	"fmt"
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// Recorder keeps what sources saw of every cluster, for a while, and makes
// samples of it: one an interval, summed over the sources that are alive.
//
// A source that reports on a cluster goes on reporting, zeros too: while one
// is silent nobody knows what goes on there, and a size that was decided on
// half of the traffic would be wrong. So a cluster has no samples while a
// source is silent for two intervals, or two of its own periods, until it
// speaks again or is taken for gone. A report that covers no time (Seconds 0)
// carries only the load average, memory and metrics; its source may be silent.
//
// The zero value is ready. All methods may be called concurrently.
type Recorder struct {
	// Window is how far back samples reach. Default: 10 min.
	Window time.Duration
	// GoneAfter is how long a source may be silent until its traffic is taken
	// to have moved elsewhere; never less than four intervals. Metrics count
	// for as long. Default: 1 min.
	GoneAfter time.Duration

	mu       sync.Mutex
	clusters map[topology.ClusterID]*signals
	woken    chan struct{}                   // holds one token while wake has clusters
	wake     map[topology.ClusterID]struct{} // a queue began there
}

// Record keeps a report, received now. A report that is not above the last of
// its source is ignored. An error says what is wrong with the report, or that
// the cluster has too many sources (1000) or metrics (32); nothing of it is kept.
func (r *Recorder) Record(report Report) error { return r.RecordAt(report, time.Now()) }

// RecordAt is [Recorder.Record] for a report received at now.
func (r *Recorder) RecordAt(report Report, now time.Time) error {
	if err := report.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sig, known := r.clusters[report.Cluster]
	if !known {
		sig = &signals{}
	}
	began, err := sig.record(&report, now, r.keep())
	if err != nil {
		return fmt.Errorf("cluster %s: %w", report.Cluster, err)
	}
	if !known {
		if r.clusters == nil {
			r.clusters = map[topology.ClusterID]*signals{}
		}
		r.clusters[report.Cluster] = sig
	}
	if began {
		r.rouse(report.Cluster)
	}
	return nil
}

// Observe returns a cluster's samples, one an interval, oldest first, the
// newest of them ending now, and its named metrics: the sum over their
// sources, oldest first. There are no samples while a source is silent, and
// none from before the newest such silence. The caller owns what is returned.
func (r *Recorder) Observe(c topology.ClusterID, now time.Time, interval time.Duration) ([]Sample, map[string][]Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sig := r.clusters[c]
	if sig == nil || interval <= 0 {
		return nil, nil
	}
	keep := r.keep()
	sig.prune(now, interval, keep)
	if len(sig.sources) == 0 && len(sig.metrics) == 0 {
		delete(r.clusters, c)
		return nil, nil
	}
	return sig.samples(now, interval, keep), sig.named()
}

// Forget drops all that is known of a cluster.
func (r *Recorder) Forget(c topology.ClusterID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.clusters, c)
	delete(r.wake, c)
}

// Woken receives when requests began to queue in some cluster. Wake-ups
// coalesce: one is pending at most.
func (r *Recorder) Woken() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bell()
}

// takeWoken returns the clusters in which a queue began since the last call.
func (r *Recorder) takeWoken() map[topology.ClusterID]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	woken := r.wake
	r.wake = nil
	return woken
}

// retain forgets all clusters but those that are known, so that reports on
// clusters that never were or are no more do not pile up.
func (r *Recorder) retain(known func(topology.ClusterID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.clusters {
		if !known(c) {
			delete(r.clusters, c)
			delete(r.wake, c)
		}
	}
}

// rouse wakes whoever waits for Woken; r.mu is held.
func (r *Recorder) rouse(c topology.ClusterID) {
	if r.wake == nil {
		r.wake = map[topology.ClusterID]struct{}{}
	}
	r.wake[c] = struct{}{}
	select {
	case r.bell() <- struct{}{}:
	default: // one is pending: it will find this cluster too
	}
}

// bell returns the channel behind Woken; r.mu is held.
func (r *Recorder) bell() chan struct{} {
	if r.woken == nil {
		r.woken = make(chan struct{}, 1)
	}
	return r.woken
}

// keep returns the times that decide how long something counts.
func (r *Recorder) keep() keep {
	k := keep{window: r.Window, gone: r.GoneAfter}
	if k.window <= 0 {
		k.window = 10 * time.Minute
	}
	if k.gone <= 0 {
		k.gone = time.Minute
	}
	return k
}

// keep says how long something counts.
type keep struct{ window, gone time.Duration }
