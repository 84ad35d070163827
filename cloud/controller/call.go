package controller

import (
	"context"
	"time"

	"github.com/gostratos/stratos/topology"
)

// pause keeps calls about a member apart: longer after each one that did not
// bring it into another state, whether it failed or not.
type pause struct {
	state topology.State
	tries int
	until time.Time
}

// call starts a call to a cloud about a member, unless one is in flight (its
// end queues the cluster) or it is too early: then it says when.
func (r *run) call(ctx context.Context, m topology.MemberRecord, do func(context.Context, topology.MemberRecord) error) (retry time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[m.ID] {
		return time.Time{}
	}
	if p := r.pauses[m.ID]; p.state == m.State && r.clock.now().Before(p.until) {
		return p.until
	}
	r.busy[m.ID] = true
	r.spawn(func() {
		err := do(ctx, m)
		if err != nil && ctx.Err() == nil {
			r.log().Warn("cloud", "cluster", m.Cluster, "member", m.ID, "err", err)
		}
		r.called(m)
	})
	return time.Time{}
}

// called ends a call: the next one about this member waits.
func (r *run) called(m topology.MemberRecord) {
	r.mu.Lock()
	delete(r.busy, m.ID)
	p := r.pauses[m.ID]
	if p.state != m.State {
		p = pause{state: m.State}
	}
	p.until = r.clock.now().Add(min(callRetry<<min(p.tries, 10), time.Minute) / 2)
	p.tries++
	r.pauses[m.ID] = p
	r.mu.Unlock()
	r.queue.add(m.Cluster)
}

func (r *run) forget(m topology.MemberID) {
	r.heard.forget(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pauses, m)
	delete(r.sent, m)
	delete(r.doubted, m)
	delete(r.wavering, m)
	delete(r.ended, m)
	delete(r.absent, m)
}
