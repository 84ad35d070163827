package controller

import (
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// blind reports whether so many members are silent that the fault is more
// likely in what hears them than in them: at least five, and more than 30 % of
// all. Then silence proves nothing, and only what a cloud says does.
func blind(silent, total int) bool { return silent >= 5 && silent*10 > total*3 }

// blindFor is how long one count of the silent is good for: it looks at every
// member of the platform, whichever cluster asks.
const blindFor = time.Second

// sensor remembers whether silence proves nothing.
type sensor struct {
	mu      sync.Mutex
	counted time.Time
	blind   bool
}

// blind counts who is silent in the whole platform, or remembers.
func (r *run) blind(v *topology.View, now time.Time) bool {
	s := &r.sensor
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.counted.IsZero() && now.Sub(s.counted) < blindFor {
		return s.blind
	}
	silent, total := r.silent(v, now)
	was := s.blind
	s.counted, s.blind = now, blind(silent, total)
	if s.blind && !was {
		r.log().Error("so many members are silent at once that none is replaced for it: look at the network between them and the control plane", "silent", silent, "members", total)
	}
	return s.blind
}

// silent counts the members that should be heard, and those that are not.
func (r *run) silent(v *topology.View, now time.Time) (silent, total int) {
	for c := range v.Clusters() {
		for m := range c.All() {
			switch m.State {
			case topology.Terminated, topology.Terminating, topology.Created, topology.Initialized:
				continue // nobody is expected to be heard
			case topology.Suspended:
				silent++
			default:
				if now.Sub(lastHeard(*m, r.heard.of(m.ID), r.started)) >= silentFor*r.heartbeat() {
					silent++
				}
			}
			total++
		}
	}
	return silent, total
}
