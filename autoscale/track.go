package autoscale

import (
	"slices"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// maxDecisions is how many decisions of a cluster are kept.
const maxDecisions = 100

// track is what the Scaler knows of one cluster. All but the decisions belongs
// to the goroutine of Tick.
type track struct {
	name      string // of the policy that memory is of
	memory    Memory // nil unless that policy learns
	complaint string // logged last

	// what was written last, and when: the view may not show it yet
	size    int
	written store.Revision

	decisions []Decision // oldest first; guarded by the Scaler's mu
}

// Decisions returns the last hundred decisions for a cluster, oldest first.
// It may be called concurrently.
func (s *Scaler) Decisions(c topology.ClusterID) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tracks[c]; t != nil {
		return slices.Clone(t.decisions)
	}
	return nil
}

// Latest returns the newest decision for a cluster, if there is one. It may be
// called concurrently.
func (s *Scaler) Latest(c topology.ClusterID) (Decision, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[c]
	if t == nil || len(t.decisions) == 0 {
		return Decision{}, false
	}
	return t.decisions[len(t.decisions)-1], true
}

// track returns what is known of a cluster.
func (s *Scaler) track(c topology.ClusterID) *track {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[c]
	if t == nil {
		if s.tracks == nil {
			s.tracks = map[topology.ClusterID]*track{}
		}
		t = &track{}
		s.tracks[c] = t
	}
	return t
}

// forget drops what is known of clusters that are no more.
func (s *Scaler) forget(v *topology.View) {
	known := func(c topology.ClusterID) bool {
		cluster := v.Cluster(c)
		return cluster != nil && cluster.Known && !cluster.Cluster.Removed
	}
	if s.Recorder != nil {
		s.Recorder.retain(known)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.tracks {
		if !known(c) {
			delete(s.tracks, c)
		}
	}
}

// add keeps a decision.
func (t *track) add(d Decision) {
	t.decisions = append(t.decisions, d)
	if extra := len(t.decisions) - maxDecisions; extra > 0 {
		t.decisions = append(t.decisions[:0], t.decisions[extra:]...)
	}
}

// want is the size recorded until now, if there is one: as the view has it,
// unless it is older than what was written since.
func (t *track) want(c *topology.ClusterView, rev store.Revision) (int, bool) {
	switch {
	case rev < t.written:
		return t.size, true
	case c.Want != nil:
		return c.Want.Size, true
	}
	return 0, false
}

// wrote remembers what was written.
func (t *track) wrote(rev store.Revision, size int) { t.written, t.size = rev, size }

// policy returns who decides for the cluster, or nil: the policy of that name,
// or the memory of it if it learns. A cluster that changes to another policy
// begins with nothing learnt.
func (t *track) policy(name string, all map[string]Policy) Policy {
	p := all[name]
	if p == nil && name == "" {
		p = InFlight{}
	}
	l, learns := p.(Learner)
	if !learns {
		t.name, t.memory = name, nil
		return p
	}
	if t.memory == nil || t.name != name {
		t.name, t.memory = name, l.Learn()
	}
	return t.memory
}
