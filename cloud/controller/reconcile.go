package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// look reconciles a cluster that the queue handed out, and gives it back. Its
// error ends the reign.
func (r *run) look(ctx context.Context, id topology.ClusterID) error {
	err := r.reconcile(ctx, id)
	r.queue.done(id)
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	var fenced *store.FencedError
	switch {
	case err == nil, ctx.Err() != nil:
	case errors.As(err, &fenced):
		return err
	case errors.As(err, &conflict):
		r.queue.add(id) // somebody else wrote; the view will show it
	case errors.As(err, &unknown):
		r.queue.addAfter(id, callRetry)
	default:
		r.log().Warn("cluster", "cluster", id, "err", err)
		r.queue.addAfter(id, 2*time.Second)
	}
	return nil
}

// reconcile looks at one cluster and acts. It is called for one cluster by one
// goroutine at a time.
func (r *run) reconcile(ctx context.Context, id topology.ClusterID) error {
	if err := r.resolveS1(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	after := max(r.minRev[id], r.guard.Rev) - 1
	r.mu.Unlock()
	v, err := r.Topology.Next(ctx, after) // what this loop and former leaders wrote is in the view
	if err != nil {
		return err
	}
	c := v.Cluster(id)
	if c == nil {
		return nil
	}
	r.saw(id, c)
	now := r.clock.now()
	p := decide(r.situation(v, c, now))
	for _, err := range p.refused {
		r.refuse(id, err)
	}
	if err := r.hold(ctx, id, p.held); err != nil {
		return err
	}
	if err := r.execute(ctx, c, &p); err != nil {
		return err
	}
	if p.lookAgain.IsZero() {
		r.queue.cancel(id)
	} else {
		r.queue.addAfter(id, p.lookAgain.Sub(now))
	}
	for a := range p.observe {
		if o := r.observers[a]; o != nil {
			o.ask(id)
		}
	}
	return nil
}

// hold notes whom the kill guard keeps in a cluster, and asks for the
// operator's consent.
func (r *run) hold(ctx context.Context, id topology.ClusterID, held []topology.MemberID) error {
	if r.losses.hold(id, held) {
		r.log().Error("too many members were replaced for lost health within five minutes: the next wait; "+
			"see why they fall silent, then allow replacements, or they are replaced a few at a time",
			"limit", lossLimit(r.ledger.members()), "cluster", id)
	}
	if len(held) == 0 {
		return nil
	}
	k, err := r.consents(ctx)
	if err != nil {
		return err
	}
	if r.clock.now().Before(k.Replace) {
		r.losses.lift(k.Replace)
		r.queue.add(id)
	}
	return nil
}

func (r *run) situation(v *topology.View, c *topology.ClusterView, now time.Time) situation {
	return situation{
		now: now, cluster: c, started: r.started,
		blind: sync.OnceValue(func() bool { return r.blind(v, now) }),
		lose:  func(m topology.MemberID) bool { return r.losses.take(m, now, r.ledger.members()) },
		heard: r.heard.of, seen: r.seen,
		idle: func(m topology.MemberID, rt topology.Runtime) bool {
			rec, ok := c.Member(m)
			return ok && r.Idle != nil && r.Idle(c.Cluster.ID, m, rt.Address(rec.Address))
		},
		timing: timing{
			heartbeat: r.heartbeat(), boot: r.boot(), grace: r.grace(), drain: r.drain(),
			tombstone: func(a string) time.Duration { return r.tombstoneFor(r.account(a)) },
		},
	}
}

// execute carries a plan out: first what frees, then what adds.
func (r *run) execute(ctx context.Context, c *topology.ClusterView, p *plan) error {
	for _, m := range p.writes {
		if err := r.write(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range p.deletes {
		if err := r.remove(ctx, m); err != nil {
			return err
		}
	}
	for _, release := range p.launches {
		if err := r.create(ctx, c, release); err != nil {
			return err
		}
	}
	for _, m := range p.sends {
		p.again(r.call(ctx, m, r.send))
	}
	for _, m := range p.ends {
		p.again(r.call(ctx, m, r.end))
	}
	return nil
}
