package stream

import (
	"fmt"
	"time"

	"github.com/gostratos/stratos/topology"
)

// fewMembers is below how many active members no snapshot is doubted.
const fewMembers = 10

// doubt keeps a snapshot out that is without most of the active members, such
// as that of a replica which begins empty: a balancer that believed it would
// take every service down. If it stays like that, it is true.
type doubt struct {
	patience time.Duration
	since    time.Time // zero: there is none
}

// refuses is given the view and the snapshot that would replace it.
func (d *doubt) refuses(before, after *topology.View, now time.Time) error {
	active, missing := 0, 0
	for c := range before.Clusters() {
		n := c.Count(topology.Active)
		active += n
		if left := after.Cluster(c.Cluster.ID); left != c && n > 0 && !explained(c, left) {
			missing += without(c, left)
		}
	}
	if active < fewMembers || 2*missing <= active {
		d.since = time.Time{}
		return nil
	}
	if d.since.IsZero() {
		d.since = now
	}
	if now.Sub(d.since) >= d.patience {
		d.since = time.Time{}
		return nil
	}
	return fmt.Errorf("topology: a snapshot without %d of %d active members is refused until it has been so for %v", missing, active, d.patience)
}

// explained reports whether the snapshot itself says why members are gone: the
// cluster is removed, or what is left of it is all that is wanted.
func explained(before, after *topology.ClusterView) bool {
	switch {
	case before.Cluster.Removed:
		return true
	case after == nil:
		return false
	}
	return after.Cluster.Removed || after.Want != nil && after.Count(topology.Active) >= after.Want.Size
}

// without counts the active members that have no record any more. One that
// ends has, for an hour at least: that is a word, not a hole.
func without(before, after *topology.ClusterView) (n int) {
	for _, m := range before.Members() {
		if m.State != topology.Active {
			continue
		}
		if after != nil {
			if _, ok := after.Member(m.ID); ok {
				continue
			}
		}
		n++
	}
	return n
}
