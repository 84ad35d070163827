package stream

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// relay follows the source for all subscribers: what changed is encoded once
// and put into the feeds of the scopes it belongs to, and only their
// subscribers wake. It lives as long as there are subscribers.
type relay struct {
	source   topology.Source
	coalesce time.Duration
	stop     context.CancelFunc
	done     chan struct{} // closed when run has returned
	users    int           // guarded by the server's lock

	mu    sync.Mutex
	head  *topology.View
	feeds map[Scope]*feed
	err   error // why it ended
}

// move is a cluster before and after a change; nil is absent.
type move struct {
	before, now *topology.ClusterView
	delta       []byte // encoded
}

func newRelay(source topology.Source, coalesce time.Duration, v *topology.View) *relay {
	all := Scope{}
	return &relay{
		source: source, coalesce: coalesce, done: make(chan struct{}),
		head: v, feeds: map[Scope]*feed{all: newFeed(all, v)},
	}
}

// run follows the source until ctx ends or the source fails.
func (r *relay) run(ctx context.Context) {
	defer close(r.done)
	at := r.head.Rev
	for {
		v, err := r.source.Next(ctx, at)
		if err == nil {
			at, err = v.Rev, r.publish(v)
		}
		if err != nil {
			r.fail(err)
			return
		}
		if !pause(ctx, r.coalesce) {
			return
		}
	}
}

// publish tells the feeds what changed. Only run calls it, so the head does
// not move under it.
func (r *relay) publish(v *topology.View) error {
	var moves []*move
	for id := range v.Changed(r.head) {
		m := &move{before: r.head.Cluster(id), now: v.Cluster(id)}
		var err error
		if m.delta, err = changes(m.before, m.now); err != nil {
			return err
		}
		moves = append(moves, m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := map[*feed]bool{}
	for _, m := range moves {
		for _, f := range r.feedsOf(m) {
			touched[f] = true
			if err := f.add(m); err != nil {
				return err
			}
		}
	}
	r.head = v
	for f := range touched {
		f.flush(v.Rev)
	}
	return nil
}

// feedsOf lists the feeds that a change belongs to, each once.
func (r *relay) feedsOf(m *move) (feeds []*feed) {
	for _, s := range append(scopesOf(m.before), scopesOf(m.now)...) {
		if f := r.feeds[s]; f != nil && !slices.Contains(feeds, f) {
			feeds = append(feeds, f)
		}
	}
	return feeds
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	for _, f := range r.feeds {
		close(f.wake)
		f.wake = make(chan struct{})
	}
}

// enter returns the feed of a scope, to be left again.
func (r *relay) enter(scope Scope) *feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.feeds[scope]
	if f == nil {
		f = newFeed(scope, r.head)
		r.feeds[scope] = f
	}
	f.users++
	return f
}

// leave gives a feed up. That of everything stays: its snapshot is dear.
func (r *relay) leave(f *feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.users--; f.users == 0 && f.scope != (Scope{}) {
		delete(r.feeds, f.scope)
	}
}

// floor is the least revision that a reader of the feed can go on from.
func (r *relay) floor(f *feed) store.Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.floor
}

// place is where a reader of a feed goes on that has seen after.
func (r *relay) place(f *feed, after store.Revision) (next uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.cursor(after)
}

// batch is what a subscriber has to send next.
type batch struct {
	messages []message
	lost     bool          // its place is not in the ring any more
	last     bool          // there is no more than messages
	wake     chan struct{} // closed when there is
	rev      store.Revision
	digest   topology.Digest // of the scope at rev
}

// batchMessages bounds a batch.
const batchMessages = 64

// read returns what comes at and after a place.
func (r *relay) read(f *feed, next uint64) (batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := batch{wake: f.wake, rev: r.head.Rev, digest: f.digest, lost: next < f.first}
	if r.err != nil || b.lost {
		return b, r.err
	}
	rest := f.ring[next-f.first:]
	b.last = len(rest) <= batchMessages
	b.messages = slices.Clone(rest[:min(len(rest), batchMessages)])
	return b, nil
}

func (r *relay) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}
