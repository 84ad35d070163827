package controller

import (
	"context"
	"maps"
	"time"

	"github.com/gostratos/stratos/topology"
)

// Report is what an agent says of its member: its whole state.
type Report struct {
	Seq      uint64 // reports that are not above the last are passed over
	Ready    bool   // Serving is up and healthy
	Reason   string // why not, if not
	Serving  *topology.Runtime
	Retiring []topology.Runtime // still running beside it
	Refused  *topology.Refusal  // what it could not bring up; At is set by the controller
	Restarts int
	// Bound names the list of bindings that the service of Serving knows, and
	// BindError says why the newest could not be made known to it.
	Bound, BindError string
}

// Report takes an agent's report. Only what changes the member's record is
// written; the rest is a heartbeat. ErrGone tells the agent to stop.
func (c *Controller) Report(ctx context.Context, cl topology.ClusterID, id topology.MemberID, r Report) error {
	now := c.clock.now()
	if !c.heard.note(id, r.Seq, now) {
		return nil
	}
	_, err := c.update(ctx, cl, id, nil, func(m topology.Member) (topology.Member, error) {
		return c.reported(m, r, now)
	})
	if err == nil {
		c.heard.took(id, r.Seq)
	}
	return err
}

// HungUp tells the controller that an agent's connection broke. That is a
// reason to ask the cloud whether the instance is still there, no more.
func (c *Controller) HungUp(cl topology.ClusterID, id topology.MemberID) { c.heard.hangUp(cl, id) }

// reported is the member after a report.
func (c *Controller) reported(m topology.Member, r Report, now time.Time) (topology.Member, error) {
	if m.State == topology.Terminating || m.State == topology.Terminated {
		return m, ErrGone
	}
	m = c.retire(m, r, now)
	m.Serving, m.Ready, m.Restarts = r.Serving, r.Ready, r.Restarts
	m.Bound, m.BindError = r.Bound, r.BindError
	if r.Refused != nil && (m.Refused == nil || m.Refused.Release != r.Refused.Release) {
		refused := *r.Refused
		refused.At = now
		m.Refused = &refused
	}
	if m.Refused != nil && m.Serving != nil && m.Serving.Release == m.Refused.Release {
		m.Refused = nil // it came up after all
	}
	switch {
	case !r.Ready && (m.State == topology.Active || m.State == topology.Suspended):
		return c.to(m, topology.Starting, r.Reason, now, now.Add(c.boot()))
	case !r.Ready && m.State == topology.Starting && r.Reason != "":
		m.Reason = r.Reason
	case r.Ready && m.State == topology.Suspended:
		return c.to(m, topology.Active, "heard of again", now, time.Time{})
	case m.State == topology.Starting && healthy(m):
		return c.to(m, topology.Active, "healthy", now, time.Time{})
	}
	return m, nil
}

// retire moves the runtime that was served until now to those that finish
// what they have, if the agent still runs it. A runtime gets there only this
// way: an agent that repeats itself does not bring one back.
func (c *Controller) retire(m topology.Member, r Report, now time.Time) topology.Member {
	if m.Serving == nil || r.Serving != nil && sameRuntime(*m.Serving, *r.Serving) {
		return m
	}
	for _, old := range r.Retiring {
		if sameRuntime(old, *m.Serving) {
			old.Deadline = now.Add(c.drain())
			m.Retiring = append(m.Retiring[:len(m.Retiring):len(m.Retiring)], old)
		}
	}
	return m
}

func sameRuntime(a, b topology.Runtime) bool {
	return a.Release == b.Release && maps.Equal(a.Ports, b.Ports)
}

// healthy reports whether a member can be sent requests: what it should serve
// is up, and it is known where.
func healthy(m topology.Member) bool { return m.Ready && m.Address != "" && servesAssigned(m) }

// servesAssigned reports whether a member serves what it should.
func servesAssigned(m topology.Member) bool {
	return m.Serving != nil && m.Assigned != nil && m.Serving.Release == *m.Assigned
}
