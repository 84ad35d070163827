package controller

import (
	"context"
	"sync"
	"time"

	"github.com/gostratos/stratos/topology"
)

// queue hands out clusters to look at, each to one owner at a time. Adding a
// cluster that waits already does nothing; one that is being looked at is
// handed out again afterwards.
type queue struct {
	mu     sync.Mutex
	ready  []topology.ClusterID
	state  map[topology.ClusterID]queued
	timers map[topology.ClusterID]*time.Timer
	wake   chan struct{} // capacity one
	closed bool
}

type queued struct{ waiting, taken bool }

func newQueue() *queue {
	return &queue{
		state:  map[topology.ClusterID]queued{},
		timers: map[topology.ClusterID]*time.Timer{},
		wake:   make(chan struct{}, 1),
	}
}

func (q *queue) add(id topology.ClusterID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.state[id]
	if s.waiting {
		return
	}
	s.waiting = true
	q.state[id] = s
	if !s.taken {
		q.push(id)
	}
}

// addAt adds the cluster at a time, replacing what was said before.
func (q *queue) addAt(id topology.ClusterID, t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old := q.timers[id]; old != nil {
		old.Stop()
		delete(q.timers, id)
	}
	if t.IsZero() || q.closed {
		return
	}
	q.timers[id] = time.AfterFunc(time.Until(t), func() { q.add(id) })
}

// take waits for a cluster, or the end of ctx.
func (q *queue) take(ctx context.Context) (topology.ClusterID, bool) {
	for {
		if id, ok := q.pop(); ok {
			return id, true
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return "", false
		}
	}
}

// done gives a cluster back.
func (q *queue) done(id topology.ClusterID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.state[id]
	s.taken = false
	q.state[id] = s
	if s.waiting {
		q.push(id)
	} else {
		delete(q.state, id)
	}
}

// close stops all timers.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, t := range q.timers {
		t.Stop()
	}
	clear(q.timers)
}

func (q *queue) pop() (topology.ClusterID, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		return "", false
	}
	id := q.ready[0]
	q.ready = q.ready[1:]
	q.state[id] = queued{taken: true}
	if len(q.ready) > 0 {
		q.signal()
	}
	return id, true
}

// push makes a cluster ready; q.mu is held.
func (q *queue) push(id topology.ClusterID) {
	q.ready = append(q.ready, id)
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
