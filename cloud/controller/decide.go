package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gostratos/stratos/topology"
)

// situation is all that a decision about one cluster looks at.
type situation struct {
	now     time.Time
	cluster *topology.ClusterView
	started time.Time                                      // since when this controller listens: silence before that is its own
	heard   func(topology.MemberID) contact                // what agents said
	seen    func(topology.MemberRecord) sighting           // what the cloud said
	idle    func(topology.MemberID, topology.Runtime) bool // whether a runtime's work is done
	blind   func() bool                                    // whether silence proves nothing just now
	lose    func(topology.MemberID) bool                   // whether the kill guard lets a silent member go
	timing  timing
}

// timing is the controller's durations, resolved.
type timing struct {
	heartbeat, boot, grace, drain time.Duration
	tombstone                     func(account string) time.Duration
}

// sighting is what the cloud said of a member's instance.
type sighting struct {
	missing bool   // its last list does not have the instance, or shows it ended
	gone    bool   // it said so as often as needs be
	address string // where it is reached
}

// plan is a decision: what to write, what to start, and when to look again.
type plan struct {
	writes    []topology.MemberRecord // new values of members that are there, by the Mod they were read at
	launches  []topology.Release      // members to create, each with its release
	sends     []topology.MemberRecord // Created members whose instance is to be asked for
	ends      []topology.MemberRecord // Terminating members whose instance is to be ended
	deletes   []topology.MemberRecord // tombstones whose time has come
	held      []topology.MemberID     // whom only the kill guard keeps
	refused   []error                 // moves that the table of transitions does not have
	observe   map[string]bool         // accounts that are to be listed
	lookAgain time.Time               // zero: at the next change
}

// decide says what to do about one cluster. It is a pure function of s.
func decide(s situation) plan {
	d := decider{situation: s, plan: plan{observe: map[string]bool{}}}
	for _, m := range s.cluster.Members() {
		d.member(m)
	}
	d.size()
	d.assign()
	for _, m := range d.members {
		if d.changed[m.ID] {
			d.plan.writes = append(d.plan.writes, m)
		}
	}
	d.plan.sends = slices.DeleteFunc(d.plan.sends, func(m topology.MemberRecord) bool { return d.changed[m.ID] })
	return d.plan
}

type decider struct {
	situation
	plan    plan
	members []topology.MemberRecord    // as they will be
	changed map[topology.MemberID]bool // those that differ from what is recorded
	moved   map[topology.MemberID]bool // those in another state
}

// again asks for another look at t, at the latest; zero asks for none.
func (p *plan) again(t time.Time) {
	if !t.IsZero() && (p.lookAgain.IsZero() || t.Before(p.lookAgain)) {
		p.lookAgain = t
	}
}

func (d *decider) change(m topology.MemberRecord) {
	if d.changed == nil {
		d.changed = map[topology.MemberID]bool{}
	}
	d.changed[m.ID] = true
	for i := range d.members {
		if d.members[i].ID == m.ID {
			d.members[i] = m
		}
	}
}

// move changes a member's state, once. The table of transitions holds here too: a
// move it refuses is not made, and told.
func (d *decider) move(m topology.MemberRecord, to topology.State, reason string, deadline time.Time) topology.MemberRecord {
	if d.moved[m.ID] {
		return m // one transaction, one transition: the next look goes on
	}
	next, err := m.To(to, reason, d.now, deadline)
	if err != nil {
		d.plan.refused = append(d.plan.refused, err)
		return m
	}
	m.Member = next
	d.change(m)
	if d.moved == nil {
		d.moved = map[topology.MemberID]bool{}
	}
	d.moved[m.ID] = true
	return m
}

// end begins the end of a member. One that never served, through no wish of
// ours, is a failure.
func (d *decider) end(m topology.MemberRecord, reason string, failed bool) {
	m.Failed = failed
	d.move(m, topology.Terminating, reason, time.Time{})
}

// member looks at one member by itself.
func (d *decider) member(m topology.MemberRecord) {
	d.members = append(d.members, m)
	expired := !m.Deadline.IsZero() && !d.now.Before(m.Deadline)
	if !expired {
		d.plan.again(m.Deadline)
	}
	switch m.State {
	case topology.Created:
		d.created(m, expired)
	case topology.Terminating:
		d.terminating(m)
	case topology.Terminated:
		if expired {
			d.plan.deletes = append(d.plan.deletes, m)
		}
	default:
		d.alive(m, expired)
	}
}

func (d *decider) created(m topology.MemberRecord, expired bool) {
	if expired {
		d.end(m, "no instance within the boot timeout", true)
		return
	}
	d.plan.sends = append(d.plan.sends, m)
}

func (d *decider) terminating(m topology.MemberRecord) {
	if d.seen(m).gone {
		d.move(m, topology.Terminated, m.Reason, d.now.Add(d.timing.tombstone(m.Account)))
		return
	}
	d.plan.ends = append(d.plan.ends, m)
	d.ask(m, m.Since)
}

// ask has the cloud listed, again and again, ever less often: since is when
// that began.
func (d *decider) ask(m topology.MemberRecord, since time.Time) {
	d.plan.observe[m.Account] = true
	d.plan.again(d.now.Add(min(callRetry+max(d.now.Sub(since), 0)/8, maxAsk)))
}

// alive looks at a member that has an instance.
func (d *decider) alive(m topology.MemberRecord, expired bool) {
	saw := d.seen(m)
	switch {
	case saw.gone:
		d.end(m, "its instance is gone", m.State.Pending())
		return
	case m.Address == "" && saw.address != "":
		m.Address = saw.address
		d.change(m)
	case m.Address == "":
		d.ask(m, m.Since)
	case saw.missing:
		d.ask(m, d.now)
	}
	m = d.retired(m)
	if m = d.silence(m); d.moved[m.ID] {
		return
	}
	switch m.State {
	case topology.Initialized, topology.Starting:
		d.booting(m, expired)
	case topology.Suspended:
		d.suspended(m, expired)
	case topology.InMaintenance:
		d.draining(m, expired)
	case topology.ReadyToShutDown:
		d.end(m, m.Reason, false)
	}
}

// suspended replaces a member whose grace is used up, unless the sensor is
// blind or the kill guard holds it back.
func (d *decider) suspended(m topology.MemberRecord, expired bool) {
	if expired && !d.blind() {
		if d.lose(m.ID) {
			d.end(m, lostHealth, false)
			return
		}
		d.plan.held = append(d.plan.held, m.ID)
	}
	d.plan.observe[m.Account] = true
	d.plan.again(d.now.Add(4 * callRetry))
}

func (d *decider) booting(m topology.MemberRecord, expired bool) {
	current := d.cluster.Cluster.Current
	switch {
	case expired:
		why := fmt.Sprintf("not serving after %v: %s", d.now.Sub(m.Since).Round(time.Second), cmp.Or(m.Reason, "no reason given"))
		if m.Assigned != nil && (m.Refused == nil || m.Refused.Release != *m.Assigned) {
			m.Refused = &topology.Refusal{Release: *m.Assigned, Reason: why, At: d.now}
		}
		d.end(m, why, true)
	case m.State == topology.Starting && m.Serving == nil && refused(m, current):
		d.end(m, "it cannot bring up the current release: "+m.Refused.Reason, true)
	case m.State == topology.Starting && healthy(m.Member):
		d.move(m, topology.Active, "healthy", time.Time{})
	case m.State == topology.Starting && wentBack(m, d.cluster.Cluster):
		m.Assigned = current
		d.change(m)
	}
}

// wentBack reports whether a member serves the current release again, after it
// stopped it for a candidate that was refused.
func wentBack(m topology.MemberRecord, c topology.Cluster) bool {
	return c.Current != nil && m.Ready && m.Serving != nil && m.Serving.Release == *c.Current &&
		!c.Current.Same(m.Assigned) && !c.Candidate.Same(m.Assigned)
}

// refused reports whether the member could not bring up r.
func refused(m topology.MemberRecord, r *topology.Release) bool {
	return r != nil && m.Refused != nil && m.Refused.Release == *r
}

// silence suspends a member that was not heard of for three heartbeats, and
// asks the cloud about one that is late.
func (d *decider) silence(m topology.MemberRecord) topology.MemberRecord {
	if m.State != topology.Active && m.State != topology.Starting {
		return m
	}
	c := d.heard(m.ID)
	last := lastHeard(m, c, d.started)
	late, dead := last.Add(d.timing.heartbeat*3/2), last.Add(silentFor*d.timing.heartbeat)
	switch {
	case !d.now.Before(dead) && d.blind():
		d.plan.observe[m.Account] = true
		d.plan.again(d.now.Add(d.timing.heartbeat))
	case !d.now.Before(dead):
		d.plan.observe[m.Account] = true
		return d.move(m, topology.Suspended, "not heard of since "+last.UTC().Format(time.RFC3339), d.now.Add(d.timing.grace))
	case c.lost || !d.now.Before(late):
		d.ask(m, late)
	default:
		d.plan.again(late)
	}
	return m
}

// silentFor is how many heartbeats may fail to come.
const silentFor = 3

// lastHeard is when a member was last heard of, as far as this controller can
// tell: it listens only since it started, and to an agent only since its join.
func lastHeard(m topology.MemberRecord, c contact, started time.Time) time.Time {
	last := c.at
	if last.Before(started) {
		last = started
	}
	if last.Before(m.Since) && m.State == topology.Starting {
		last = m.Since
	}
	return last
}

// retired drops the runtimes that have nothing left to do: their agent stops them.
func (d *decider) retired(m topology.MemberRecord) topology.MemberRecord {
	if len(m.Retiring) == 0 {
		return m
	}
	var left []topology.Runtime
	for _, r := range m.Retiring {
		if d.now.Before(r.Deadline) && !d.idle(m.ID, r) {
			left = append(left, r)
			d.plan.again(d.now.Add(drainPoll))
		}
	}
	if len(left) != len(m.Retiring) {
		m.Retiring = left
		d.change(m)
	}
	return m
}

func (d *decider) draining(m topology.MemberRecord, expired bool) {
	switch {
	case expired:
		d.move(m, topology.ReadyToShutDown, "its drain deadline passed", time.Time{})
	case len(m.Retiring) == 0 && (m.Serving == nil || d.idle(m.ID, *m.Serving)):
		d.move(m, topology.ReadyToShutDown, m.Reason, time.Time{})
	default:
		d.plan.again(d.now.Add(drainPoll))
	}
}
