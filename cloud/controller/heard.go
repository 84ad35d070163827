package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// heard remembers, in memory, when each member was last heard of, and the
// number of its last report. Heartbeats never go into the store.
type heard struct {
	mu     sync.Mutex
	last   map[topology.MemberID]contact
	lost   map[topology.ClusterID]bool // clusters in which an agent hung up since the last look
	hungUp chan struct{}               // capacity one: there are some in lost
}

type contact struct {
	at   time.Time
	seq  uint64
	lost bool // its agent hung up: time to ask the cloud
}

// note records that a member was heard of, and says whether what it said, by
// its number, is news.
func (h *heard) note(m topology.MemberID, seq uint64, now time.Time) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil {
		h.last = map[topology.MemberID]contact{}
	}
	c := h.last[m]
	if seq < c.seq {
		return false // late: it says nothing about now
	}
	h.last[m] = contact{at: now, seq: c.seq}
	return seq > c.seq
}

// took records that a report is dealt with. One that could not be recorded is
// news again when its agent repeats it.
func (h *heard) took(m topology.MemberID, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.last[m]; ok {
		c.seq = max(c.seq, seq)
		h.last[m] = c
	}
}

// restart makes everybody silent until they are heard again; what was said
// stays said.
func (h *heard) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m, c := range h.last {
		c.at = time.Time{}
		h.last[m] = c
	}
}

// hangUp marks a member whose agent broke its connection.
func (h *heard) hangUp(c topology.ClusterID, m topology.MemberID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, ok := h.last[m]
	if !ok {
		return
	}
	last.lost = true
	h.last[m] = last
	if h.lost == nil {
		h.lost = map[topology.ClusterID]bool{}
	}
	h.lost[c] = true
	select {
	case h.waiter() <- struct{}{}:
	default:
	}
}

// hangUps waits until agents hung up, and says in which clusters.
func (h *heard) hangUps(ctx context.Context) ([]topology.ClusterID, bool) {
	h.mu.Lock()
	hungUp := h.waiter()
	h.mu.Unlock()
	select {
	case <-hungUp:
	case <-ctx.Done():
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := slices.Sorted(maps.Keys(h.lost))
	clear(h.lost)
	return lost, true
}

// waiter returns the channel of hang-ups; h.mu is held.
func (h *heard) waiter() chan struct{} {
	if h.hungUp == nil {
		h.hungUp = make(chan struct{}, 1)
	}
	return h.hungUp
}

func (h *heard) of(m topology.MemberID) contact {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[m]
}

func (h *heard) forget(m topology.MemberID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.last, m)
}
