package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/topology"
)

// role is what a slot is for.
type role int

const (
	candidate role = iota // it comes up
	serving               // requests go to it
	retiring              // it finishes what it has
	stopping              // nobody needs it any more
)

// place is a slot with what the supervisor knows of it.
type place struct {
	slot   *slot
	cancel context.CancelFunc
	role   role
	up     bool
	reason string         // why it is not up
	ports  map[string]int // since it came up
	live   *running       // since it came up; the newest one
	// known: the control plane's record shows what replaced this one, so if it
	// does not list it as retiring, it wants it stopped.
	known bool
}

func (p *place) runtime() wire.Runtime {
	return wire.Runtime{Release: p.slot.a.Release(), Ports: p.ports, TLS: p.slot.box.fronts != nil}
}

// supervisor decides which releases run. It is one loop that owns its state;
// everything that takes time is in the slots, which tell it what happened.
type supervisor struct {
	newSlot  func(a wire.Assignment, n int, proven bool) *slot
	reporter *reporter
	hints    chan wire.ReleaseRef // to the assigner
	duties   chan duty            // to the caretaker
	bounds   <-chan bound         // from it
	gone     func()
	log      *slog.Logger

	events chan event
	slots  sync.WaitGroup
	places []*place // in the order they were begun

	target wire.ReleaseRef // what is assigned
	asked  wire.ReleaseRef // what the assigner was told last
	record news
	duty   duty  // what the caretaker was told last
	bound  bound // what it said last
	// former is what had to stop before the candidate could start, until
	// something serves again.
	former   *wire.Assignment
	refused  *wire.Refused
	restarts int
	n        int
}

// Run works on what comes until ctx ends, then stops everything gracefully and
// returns after it is gone.
func (s *supervisor) Run(ctx context.Context, first wire.Assignment, answers <-chan wire.Assignment, records <-chan news) {
	s.events = make(chan event)
	s.assign(ctx, first)
	for {
		s.publish("")
		select {
		case a := <-answers:
			s.assign(ctx, a)
		case n := <-records:
			s.take(n)
		case s.bound = <-s.bounds:
		case e := <-s.events:
			s.happened(ctx, e)
		case <-ctx.Done():
			s.stop(ctx)
			return
		}
	}
}

// stop ends all slots and waits for them.
func (s *supervisor) stop(ctx context.Context) {
	for _, p := range s.places {
		s.end(p)
	}
	s.publish("the agent stops")
	go func() {
		s.slots.Wait()
		close(s.events)
	}()
	for e := range s.events {
		s.happened(ctx, e)
	}
}

// assign makes a the target.
func (s *supervisor) assign(ctx context.Context, a wire.Assignment) {
	s.reporter.SetHeartbeat(a.Heartbeat)
	if a.Revision == "" || a.Release() == s.target {
		return // nothing is assigned: what runs goes on
	}
	s.target = a.Release()
	if c := s.find(candidate); c != nil {
		if c.slot.a.Release() == s.target {
			return // it comes up already
		}
		s.end(c) // abandoned
	}
	if now := s.find(serving); now != nil && now.slot.a.Release() == s.target {
		return // back to what serves
	}
	if s.refused != nil && s.refused.Release == s.target {
		s.refused = nil // somebody wants it tried again
	}
	s.begin(ctx, a, "fetching the release")
}

// begin starts a candidate.
func (s *supervisor) begin(ctx context.Context, a wire.Assignment, reason string) {
	s.n++
	proven := s.former != nil && s.former.Release() == a.Release()
	// The slot ends when it is told to, and not with ctx: the supervisor stops
	// it, after it has said so.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &place{slot: s.newSlot(a, s.n, proven), cancel: cancel, role: candidate, reason: reason}
	s.places = append(s.places, p)
	s.slots.Go(func() { p.slot.run(ctx, func(e event) { s.events <- e }) })
}

// end stops a slot. It is in places until nothing of it runs.
func (s *supervisor) end(p *place) {
	p.role, p.up = stopping, false
	p.cancel()
}

// find returns the slot in a role that there is one of, or nil.
func (s *supervisor) find(r role) *place {
	for _, p := range s.places {
		if p.role == r {
			return p
		}
	}
	return nil
}

// happened takes in what a slot says.
func (s *supervisor) happened(ctx context.Context, e event) {
	i := slices.IndexFunc(s.places, func(p *place) bool { return p.slot == e.slot })
	p := s.places[i]
	switch e.kind {
	case slotEnded:
		p.cancel()
		s.places = slices.Delete(s.places, i, i+1)
	case slotReady:
		p.reason = "starting the release"
		s.makeWay(p)
	case slotUp:
		s.up(p, e)
	case slotRefused:
		if p.role == candidate {
			s.refused = &wire.Refused{Release: p.slot.a.Release(), Reason: e.reason, Log: e.log}
			p.role = stopping
			s.back(ctx)
		}
	case slotDown:
		if p.role == serving {
			s.restarts++
		}
		p.up, p.reason = false, e.reason
	case slotWaits, slotSick:
		p.up, p.reason = false, e.reason
	}
}

// makeWay stops what must not run beside a candidate that is about to start.
func (s *supervisor) makeWay(p *place) {
	if p.role != candidate {
		return
	}
	for _, old := range s.places {
		if old.role != serving && old.role != retiring || !p.slot.volumes.conflicts(old.slot.volumes) {
			continue
		}
		if old.role == serving {
			s.former = &old.slot.a
			p.reason = "the former release stops"
		}
		s.end(old)
	}
}

// back starts again what stopped for a candidate that then was refused.
func (s *supervisor) back(ctx context.Context) {
	if s.former != nil && ctx.Err() == nil {
		s.log.Warn("back to the former release", "revision", s.former.Revision)
		s.begin(ctx, *s.former, "the release was refused, the former one starts again")
	}
}

// up is called when a slot became healthy, for the first time or again.
func (s *supervisor) up(p *place, e event) {
	if p.role == stopping {
		return
	}
	p.up, p.reason, p.ports, p.live = true, "", e.ports, e.live
	if p.role != candidate {
		return
	}
	if old := s.find(serving); old != nil {
		old.role = retiring
	}
	p.role, s.former = serving, nil
	if p.slot.a.Release() == s.target {
		s.refused = nil
	}
	s.log.Info("serving", "revision", p.slot.a.Revision, "ports", e.ports)
	s.settle()
}

// take takes in what is new in the topology.
func (s *supervisor) take(n news) {
	m := n.member
	if m.State == topology.Terminating || m.State == topology.Terminated {
		s.gone()
		return
	}
	s.record = n
	s.settle()
	var hint wire.ReleaseRef
	if m.Assigned != nil && releaseRef(*m.Assigned) != s.target {
		hint = releaseRef(*m.Assigned)
	}
	if hint != s.asked {
		s.asked = hint
		replace(s.hints, hint)
	}
}

// settle stops the retiring slots that the record has no use for any more.
func (s *supervisor) settle() {
	for i, p := range s.places {
		if p.role != retiring {
			continue
		}
		listed := slices.ContainsFunc(s.record.member.Retiring, func(r topology.Runtime) bool { return p.is(r) })
		p.known = p.known || listed || s.record.member.Serving != nil &&
			slices.ContainsFunc(s.places[i+1:], func(q *place) bool { return q.is(*s.record.member.Serving) })
		if p.known && !listed {
			s.end(p)
		}
	}
}

// is reports whether a record's runtime is this one.
func (p *place) is(r topology.Runtime) bool {
	return p.ports != nil && releaseRef(r.Release) == p.slot.a.Release() && maps.Equal(r.Ports, p.ports)
}

func releaseRef(r topology.Release) wire.ReleaseRef {
	return wire.ReleaseRef{Revision: r.Revision, Archive: r.Archive, PlanID: r.Plan, Config: r.Config}
}

// instruct tells the caretaker what there is to do for the runtime that serves.
func (s *supervisor) instruct() {
	d := duty{bindings: s.record.bindings, job: s.record.job}
	if p := s.find(serving); p != nil && p.up && p.slot.plan.Service != nil {
		d.live, d.kept = p.live, p.slot.kept()
	}
	if d != s.duty {
		s.duty = d
		replace(s.duties, d)
	}
}

// publish says how things are. A reason given here goes before the slots'.
func (s *supervisor) publish(reason string) {
	s.instruct()
	status := wire.Status{Phase: wire.PhaseStarting, Reason: reason, Refused: s.refused, Restarts: s.restarts}
	for _, p := range s.places {
		switch p.role {
		case serving:
			r := p.runtime()
			status.Serving = &r
			if p.live == s.bound.live {
				status.Bound, status.BindError = s.bound.id, s.bound.reason
			}
			if p.up {
				status.Phase = wire.PhaseReady
			} else {
				status.Reason = p.reason
			}
		case retiring:
			status.Retiring = append(status.Retiring, p.runtime())
		}
	}
	if c := s.find(candidate); c != nil && status.Serving == nil {
		status.Reason = c.reason
	}
	if s.target == (wire.ReleaseRef{}) && reason == "" {
		status.Reason = "no release is assigned"
	}
	s.reporter.Set(status)
}
