package controller

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// lostHealth is the reason of a member that was ended because it stayed
// silent. Records that have it count for the kill guard.
const lostHealth = "silent for longer than its grace"

// lossWindow is the time over which the kill guard counts.
const lossWindow = 5 * time.Minute

// lossLimit is how many of so many members may be replaced for lost health
// within the window.
func lossLimit(members int) int { return max(5, members/10) }

// losses is the kill guard: replacements for lost health beyond the limit wait
// for an operator. Scale-downs, roll-outs and evidence of death do not count.
// What former leaders ended is told by the members' records, so that a change
// of leaders does not open a new window.
type losses struct {
	mu      sync.Mutex
	counted map[topology.MemberID]time.Time // within the window: when each was given up
	pruned  time.Time                       // when those outside were last dropped from counted
	free    time.Time                       // until then an operator lifts the limit
	held    map[topology.ClusterID][]topology.MemberID
}

// remember counts what a record tells of.
func (l *losses) remember(m topology.MemberID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.counted[m]; ok {
		return
	}
	if l.counted == nil {
		l.counted = map[topology.MemberID]time.Time{}
	}
	l.counted[m] = at
}

// take reports whether a member may be replaced for lost health now, and
// counts it. Asking again for the same member costs nothing.
func (l *losses) take(m topology.MemberID, now time.Time, members int) bool {
	l.mu.Lock()
	l.prune(now)
	_, again := l.counted[m]
	ok := again || len(l.counted) < lossLimit(members) || now.Before(l.free)
	l.mu.Unlock()
	if ok && !again {
		l.remember(m, now)
	}
	return ok
}

// pruneEvery is how often those are dropped that are outside the window: it
// costs as much as there are, and every member that is held back asks again
// and again.
const pruneEvery = time.Second

// prune drops what is outside the window; l.mu is held.
func (l *losses) prune(now time.Time) {
	if !l.pruned.IsZero() && now.Sub(l.pruned) < pruneEvery {
		return
	}
	l.pruned = now
	maps.DeleteFunc(l.counted, func(_ topology.MemberID, at time.Time) bool { return now.Sub(at) >= lossWindow })
}

// lift takes the limit away until a time.
func (l *losses) lift(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = until
}

// hold replaces what is held back in one cluster, and reports whether these
// are the first in the platform.
func (l *losses) hold(c topology.ClusterID, members []topology.MemberID) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(members) == 0 {
		delete(l.held, c)
		return false
	}
	if l.held == nil {
		l.held = map[topology.ClusterID][]topology.MemberID{}
	}
	first = len(l.held) == 0
	l.held[c] = members
	return first
}

// reset forgets a former reign.
func (l *losses) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted, l.held, l.pruned, l.free = nil, nil, time.Time{}, time.Time{}
}

// Held returns the members whose grace is used up, and that are not replaced
// because too many were within five minutes: they wait for
// [Controller.AllowReplacements]. Only the leader knows; elsewhere it is empty.
func (c *Controller) Held() []topology.MemberID {
	c.losses.mu.Lock()
	defer c.losses.mu.Unlock()
	var all []topology.MemberID
	for _, cl := range slices.Sorted(maps.Keys(c.losses.held)) {
		all = append(all, c.losses.held[cl]...)
	}
	return all
}
