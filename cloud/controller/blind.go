package controller

import (
	"time"

	"github.com/gostratos/stratos/topology"
)

// blind reports whether so many members are silent that the fault is more
// likely in what hears them than in them: at least five, and more than 30 % of
// all. Then silence proves nothing, and only what a cloud says does.
func blind(silent, total int) bool { return silent >= 5 && silent*10 > total*3 }

// blind counts who is silent in the whole platform.
func (r *run) blind(v *topology.View, now time.Time) bool {
	silent, total := 0, 0
	for c := range v.Clusters() {
		for _, m := range c.Members() {
			switch m.State {
			case topology.Terminated, topology.Terminating, topology.Created, topology.Initialized:
				continue // nobody is expected to be heard
			case topology.Suspended:
				silent++
			default:
				if now.Sub(lastHeard(m, r.heard.of(m.ID), r.started)) >= silentFor*r.heartbeat() {
					silent++
				}
			}
			total++
		}
	}
	is := blind(silent, total)
	r.mu.Lock()
	began := is && !r.wasBlind
	r.wasBlind = is
	r.mu.Unlock()
	if began {
		r.log().Error("so many members are silent at once that none is replaced for it: look at the network between them and the control plane", "silent", silent, "members", total)
	}
	return is
}
