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
	timers map[topology.ClusterID]func() bool // stop what addAt started
	wake   chan struct{}                      // capacity one
	closed bool

	after func(d time.Duration, f func()) (stop func() bool)
}

type queued struct{ waiting, taken bool }

func newQueue() *queue {
	return &queue{
		state:  map[topology.ClusterID]queued{},
		timers: map[topology.ClusterID]func() bool{},
		wake:   make(chan struct{}, 1),
		after:  func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
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

// addAfter adds the cluster after a time, replacing what was said before.
func (q *queue) addAfter(id topology.ClusterID, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(id)
	if !q.closed {
		q.timers[id] = q.after(d, func() { q.add(id) })
	}
}

// cancel takes back what addAfter said.
func (q *queue) cancel(id topology.ClusterID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(id)
}

// forget stops a cluster's timer; q.mu is held.
func (q *queue) forget(id topology.ClusterID) {
	if stop := q.timers[id]; stop != nil {
		stop()
		delete(q.timers, id)
	}
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
	for _, stop := range q.timers {
		stop()
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
