package controller

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// Transition is a move of a member from one state to another.
type Transition struct{ From, To topology.State }

// refusals counts the moves that the table of transitions refused.
type refusals struct {
	mu sync.Mutex
	n  map[Transition]int64
}

func (r *refusals) count(t Transition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = map[Transition]int64{}
	}
	r.n[t]++
}

// Refusals says how often this controller, since it was made, wanted a move of
// a member that the table of transitions does not have: none was made. It may
// be called at any time.
func (c *Controller) Refusals() map[Transition]int64 {
	c.refusals.mu.Lock()
	defer c.refusals.mu.Unlock()
	return maps.Clone(c.refusals.n)
}

// to is [topology.Member.To]; what that refuses is counted.
func (c *Controller) to(m topology.Member, s topology.State, reason string, now, deadline time.Time) (topology.Member, error) {
	next, err := m.To(s, reason, now, deadline)
	c.refuse(m.Cluster, err)
	return next, err
}

// refuse counts and logs err, if it is a refused move.
func (c *Controller) refuse(cl topology.ClusterID, err error) {
	var t *topology.TransitionError
	if !errors.As(err, &t) {
		return
	}
	c.refusals.count(Transition{From: t.From, To: t.To})
	c.log().Warn("refused a transition", "cluster", cl, "member", t.Member, "from", t.From, "to", t.To)
}
