package autoscale

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Scaler is the loop of the leader: once an interval it asks every cluster's
// policy, clamps the answer to the cluster's bounds, and records it as the
// cluster's want if it is not the one from before. A policy that has too
// little to go by, or fails, or is missing, leaves the size as it is; new
// bounds hold all the same. A policy that is a [Learner] gets one [Memory] per
// cluster, for as long as the cluster exists and names that policy.
type Scaler struct {
	Store    store.Store
	Topology topology.Source
	// Recorder has the samples. Default: none, so that sizes are held.
	Recorder *Recorder
	// Policies by the names that clusters call them. Clusters that name none
	// get the one called "". Default for that one: InFlight{}.
	Policies map[string]Policy
	// Interval is the time between two decisions. Default: 5 s.
	Interval time.Duration
	// Log is told of every change of a size, and once of what prevents one.
	// Default: nothing is logged.
	Log *slog.Logger

	mu     sync.Mutex
	tracks map[topology.ClusterID]*track
}

// Run decides, at once and then once an interval, and in between for clusters
// in which requests began to queue, until ctx or the leadership ends. It
// returns a *store.FencedError if a round found that somebody else leads,
// store.ErrClosed if it found the store closed, and else nil: other errors of a
// round are logged, and the next round tries again.
func (s *Scaler) Run(ctx context.Context, lead *store.Leadership) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(lead.Context(), cancel)
	defer stop()
	ticker := time.NewTicker(s.interval())
	defer ticker.Stop()
	var woken <-chan struct{} // nil, which never receives, without a recorder
	if s.Recorder != nil {
		woken = s.Recorder.Woken()
	}
	err := s.Tick(ctx, lead, time.Now())
	for {
		if over, end := s.over(ctx, err); over {
			return end
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			err = s.Tick(ctx, lead, time.Now())
		case <-woken:
			err = nil
			if only := s.Recorder.takeWoken(); len(only) > 0 {
				err = s.round(ctx, lead, time.Now(), only)
			}
		}
	}
}

// over says whether a round's error ends Run, and with what.
func (s *Scaler) over(ctx context.Context, err error) (bool, error) {
	var fenced *store.FencedError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &fenced):
		return true, err
	case ctx.Err() != nil:
		return true, nil
	case errors.Is(err, store.ErrClosed):
		return true, err
	}
	s.log().Warn("scaling: will try again", "error", err)
	return false, nil
}

// Tick is one round over all clusters, as at now. It is what tests and
// simulations call instead of Run: by one goroutine at a time. A
// *store.FencedError or store.ErrClosed ends the round; any other error is of
// single clusters, which keep their sizes until the next round.
func (s *Scaler) Tick(ctx context.Context, lead *store.Leadership, now time.Time) error {
	return s.round(ctx, lead, now, nil)
}

// round is Tick, for only some of the clusters unless only is nil.
func (s *Scaler) round(ctx context.Context, lead *store.Leadership, now time.Time, only map[topology.ClusterID]struct{}) error {
	// No view from before this leadership: it may lack what the leader before decided.
	view, err := s.Topology.Next(ctx, lead.Epoch()-1)
	if err != nil {
		return fmt.Errorf("scaling: topology: %w", err)
	}
	if only == nil {
		s.forget(view)
	}
	var first error
	failed := 0
	for c := range clustersOf(view, only) {
		if !c.Known || c.Cluster.Removed {
			continue
		}
		err := s.scale(ctx, lead, c, view.Rev, now)
		var fenced *store.FencedError
		switch {
		case err == nil:
			continue
		case errors.As(err, &fenced), errors.Is(err, store.ErrClosed), ctx.Err() != nil:
			return err
		case first == nil:
			first = err
		}
		failed++
	}
	if failed > 1 {
		return fmt.Errorf("%d clusters kept their sizes, the first: %w", failed, first)
	}
	return first
}

// clustersOf yields the clusters of a view; only some unless only is nil, at a
// cost that does not depend on the others.
func clustersOf(v *topology.View, only map[topology.ClusterID]struct{}) iter.Seq[*topology.ClusterView] {
	if only == nil {
		return v.Clusters()
	}
	return func(yield func(*topology.ClusterView) bool) {
		for _, id := range slices.Sorted(maps.Keys(only)) {
			if c := v.Cluster(id); c != nil && !yield(c) {
				return
			}
		}
	}
}

// scale decides for one cluster and records what came of it.
func (s *Scaler) scale(ctx context.Context, lead *store.Leadership, c *topology.ClusterView, rev store.Revision, now time.Time) error {
	t := s.track(c.Cluster.ID)
	o := s.observe(c, now)
	before, wanted := t.want(c, rev)
	if !wanted {
		before = clamp(max(o.Min, o.Members.Supply()), o.Min, o.Max)
	}
	o.Want = clamp(before, o.Min, o.Max)

	rec := s.ask(t, c.Cluster.Policy, o)
	d := Decision{
		Cluster: c.Cluster.ID, At: now, Policy: c.Cluster.Policy,
		Supply: o.Members.Supply(), Before: before, Want: rec.Size, Reason: rec.Reason,
	}
	if n := len(o.Samples); n > 0 {
		d.InFlight, d.Queue = o.Samples[n-1].InFlight, o.Samples[n-1].Queue
	}
	var err error
	if !wanted || d.Want != before {
		if err = s.record(ctx, lead, c, t, d); err != nil {
			d.Want, d.Reason = before, fmt.Sprintf("%s; not recorded: %v", d.Reason, err)
		}
	}
	s.mu.Lock()
	t.add(d)
	s.mu.Unlock()
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return nil // decided on an old view: the next round has a newer one
	}
	return err
}

// ask gets the policy's answer, within the bounds; without one, the size is held.
func (s *Scaler) ask(t *track, name string, o *Observation) Recommendation {
	p := t.policy(name, s.Policies)
	if p == nil {
		s.complain(t, o.Cluster, fmt.Errorf("no scaling policy is called %q: name one of the flavour's", name))
		return Recommendation{Size: o.Want, Reason: fmt.Sprintf("held at %d: no policy is called %q", o.Want, name)}
	}
	rec, err := p.Recommend(o)
	switch {
	case errors.Is(err, ErrNoData):
		t.complaint = ""
	case err != nil:
		s.complain(t, o.Cluster, err)
	default:
		t.complaint = ""
		size := clamp(rec.Size, o.Min, o.Max)
		if size != rec.Size {
			rec.Reason = fmt.Sprintf("%s, %d is out of %d to %d", rec.Reason, rec.Size, o.Min, o.Max)
		}
		return Recommendation{Size: size, Reason: rec.Reason}
	}
	return Recommendation{Size: o.Want, Reason: fmt.Sprintf("held at %d: %v", o.Want, err)}
}

// complain logs what keeps a cluster from being scaled, once until it changes.
func (s *Scaler) complain(t *track, c topology.ClusterID, err error) {
	if t.complaint == err.Error() {
		return
	}
	t.complaint = err.Error()
	s.log().Warn("scaling: size held", "cluster", c, "error", err)
}

// record writes the want, if it is not written already. It is fenced, and
// refused if the cluster has changed or gone since the decision.
func (s *Scaler) record(ctx context.Context, lead *store.Leadership, c *topology.ClusterView, t *track, d Decision) error {
	rec, err := store.Read[topology.Want](ctx, s.Store, topology.WantKey(d.Cluster))
	switch {
	case errors.Is(err, store.ErrNotFound):
		rec = store.NewRecord(topology.WantKey(d.Cluster), topology.Want{})
	case err != nil:
		return err
	case rec.Value.Size == d.Want:
		return nil
	}
	rec.Value = topology.Want{
		V: topology.Schema, Cluster: d.Cluster, Size: d.Want,
		Reason: d.Reason, Policy: d.Policy, At: d.At,
	}
	put, err := rec.Put()
	if err != nil {
		return err
	}
	cluster := store.Cond{Key: topology.ClusterKey(d.Cluster), Kind: store.CondMod, Rev: c.Mod()}
	rev, err := s.Store.Commit(ctx, store.Txn{
		If:   []store.Cond{lead.Guard(), rec.Unchanged(), cluster},
		Then: []store.Op{put},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", rec.Key, err)
	}
	t.wrote(rev, d.Want)
	s.log().Info("scaled", "cluster", d.Cluster, "before", d.Before, "want", d.Want, "policy", d.Policy, "reason", d.Reason)
	return nil
}

// observe gathers what a policy may look at, but for the want.
func (s *Scaler) observe(c *topology.ClusterView, now time.Time) *Observation {
	o := &Observation{
		Cluster:  c.Cluster.ID,
		Now:      now,
		Interval: s.interval(),
		Min:      c.Cluster.Min,
		Max:      c.Cluster.Max,
		Members:  membersOf(c),
	}
	if s.Recorder != nil {
		o.Samples, o.Metrics = s.Recorder.Observe(o.Cluster, now, o.Interval)
	}
	return o
}

// membersOf counts a cluster's members by what they are worth.
func membersOf(c *topology.ClusterView) (m Members) {
	for r := range c.All() {
		switch {
		case r.State == topology.Active:
			m.Active++
		case r.State.Pending():
			m.Pending++
		case r.State.Supply():
			m.Other++
		case r.State.Draining():
			m.Draining++
		}
	}
	return m
}

func (s *Scaler) interval() time.Duration {
	if s.Interval <= 0 {
		return 5 * time.Second
	}
	return s.Interval
}

func (s *Scaler) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
