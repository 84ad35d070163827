package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gostratos/stratos/topology"
)

// target is how many members the cluster should have, and why.
func target(c *topology.ClusterView) (n int, why string) {
	switch cl := c.Cluster; {
	case !c.Known || cl.Removed:
		return 0, "its subscription is gone"
	case cl.Current == nil && cl.Candidate == nil:
		return 0, "no release can be served"
	case cl.Current == nil:
		return 1, "the first release is tried on one member"
	default:
		// Nobody decided yet: one that may sleep is awake until its policy says so.
		n = max(cl.Min, 1)
		why = fmt.Sprintf("the minimum is %d", cl.Min)
		if c.Want != nil {
			n, why = c.Want.Size, c.Want.Reason
		}
		if n > cl.Max {
			n, why = cl.Max, fmt.Sprintf("the maximum is %d", cl.Max)
		}
		n = max(n, cl.Min)
		if n == 0 && cl.Candidate != nil {
			return 1, "the next release is tried on a member of its own"
		}
		return n, why
	}
}

// size launches what is missing and ends what is too much. Supply counts what
// serves or soon will: what is pending is not asked for again.
func (d *decider) size() {
	want, why := target(d.cluster)
	supply, asked := 0, 0
	for _, m := range d.members {
		if m.State.Supply() {
			supply++
		}
		if m.State == topology.Created {
			asked++
		}
	}
	for _, m := range d.surplus(supply - want) {
		if m.State == topology.Active || m.State == topology.Suspended {
			d.move(m, topology.InMaintenance, why, d.now.Add(d.timing.drain))
			d.plan.again(d.now.Add(drainPoll))
		} else {
			d.end(m, why, false)
		}
	}
	missing := want - supply
	missing -= d.cancelDrains(missing)
	if missing <= 0 || d.cluster.Cluster.Exclusive && d.occupied() {
		return
	}
	release := d.cluster.Cluster.Current
	if release == nil || d.cluster.Cluster.Candidate != nil && supply == 0 && d.wantIsForCandidate() {
		release = d.cluster.Cluster.Candidate
	}
	if at := d.backOff(release); d.now.Before(at) {
		d.plan.again(at)
		return
	}
	for range min(missing, max(5, want/5)-asked) { // the rest when these have an instance
		d.plan.launches = append(d.plan.launches, *release)
	}
}

// occupied reports whether a member may still be at work, with a volume that is
// for one at a time. One that is ending is, until the cloud says that it is gone.
func (d *decider) occupied() bool {
	return slices.ContainsFunc(d.members, func(m topology.MemberRecord) bool { return m.State != topology.Terminated })
}

// wantIsForCandidate reports whether the cluster would be empty but for its candidate.
func (d *decider) wantIsForCandidate() bool {
	without := *d.cluster
	without.Cluster.Candidate = nil
	n, _ := target(&without)
	return n == 0
}

// surplus picks n members to end: first those that do not serve yet, the
// youngest first; of those that serve, too.
func (d *decider) surplus(n int) []topology.MemberRecord {
	if n <= 0 {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(d.members), func(m topology.MemberRecord) bool { return !m.State.Supply() })
	rank := map[topology.State]int{topology.Created: 0, topology.Initialized: 1, topology.Starting: 2, topology.Suspended: 3, topology.Active: 4}
	slices.SortStableFunc(all, func(a, b topology.MemberRecord) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), b.Created.Compare(a.Created))
	})
	return all[:min(n, len(all))]
}

// cancelDrains takes back up to n members that still serve well, rather than
// launch new ones, and says how many.
func (d *decider) cancelDrains(n int) (back int) {
	for _, m := range slices.Clone(d.members) {
		if back >= n {
			break
		}
		if m.State == topology.InMaintenance && servesAssigned(m.Member) && d.cluster.Cluster.Current.Same(m.Assigned) {
			d.move(m, topology.Active, "its drain was cancelled", time.Time{})
			back++
		}
	}
	return back
}

// backOff is the time before which no member is launched with a release,
// because the last ones failed before they served: it doubles with each of them.
func (d *decider) backOff(release *topology.Release) time.Time {
	var last time.Time
	failures := 0
	for _, m := range d.members {
		if m.Failed && d.now.Sub(m.Created) < forgiven && release.Same(m.Assigned) {
			failures++
			if m.Since.After(last) {
				last = m.Since
			}
		}
	}
	if failures == 0 {
		return time.Time{}
	}
	return last.Add(min(maxDelay, launchDelay<<min(failures-1, 20)))
}

// assign says which release each member should serve: the candidate on one of
// them, the current release on the rest, at most a quarter of them at a time.
func (d *decider) assign() {
	cl := d.cluster.Cluster
	if !d.cluster.Known || cl.Removed || cl.Current == nil {
		return
	}
	switching := 0
	trial := false
	var active []topology.MemberRecord
	for _, m := range d.members {
		if m.State != topology.Active {
			trial = trial || m.State.Pending() && cl.Candidate != nil && cl.Candidate.Same(m.Assigned)
			continue
		}
		active = append(active, m)
		trial = trial || cl.Candidate != nil && cl.Candidate.Same(m.Assigned)
		if m.Assigned != nil && !servesAssigned(m.Member) && !refused(m, m.Assigned) {
			switching++
		}
	}
	if cl.Candidate != nil && !trial && len(active) > 0 {
		m := active[0]
		m.Assigned = cl.Candidate
		d.change(m)
		return
	}
	room := max(1, len(active)/4) - switching
	for _, m := range active {
		switch {
		case refused(m, cl.Current) && !(m.Serving != nil && m.Serving.Release == *cl.Current):
			d.replace(m)
		case cl.Current.Same(m.Assigned), cl.Candidate != nil && cl.Candidate.Same(m.Assigned):
		case m.Serving != nil && m.Serving.Release == *cl.Current:
			m.Assigned = cl.Current // taken back: nothing to switch
			d.change(m)
		case room > 0:
			room--
			m.Assigned = cl.Current
			d.change(m)
		}
	}
}

// replace drains a member that cannot serve the current release, which others
// can; the next look launches another.
func (d *decider) replace(m topology.MemberRecord) {
	m.Failed = true
	d.move(m, topology.InMaintenance, "it cannot bring up the current release: "+m.Refused.Reason, d.now.Add(d.timing.drain))
}
