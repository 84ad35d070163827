package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// simStore is the store as one life sees it: calls fail when the life is over,
// answers get lost, and writes land late.
type simStore struct {
	store.Store // what the controller does not use
	life        *life
}

var errSimDead = errors.New("the process has ended")

func (s *simStore) ID(context.Context) (store.ID, error) { return s.life.id, nil }

func (s *simStore) Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	s.life.giveWay()
	if s.life.dead {
		return store.KV{}, 0, errSimDead
	}
	return s.life.records.Get(context.Background(), key, o)
}

func (s *simStore) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	s.life.giveWay()
	if s.life.dead {
		return store.Page{}, errSimDead
	}
	page, err := s.life.records.List(context.Background(), prefix, o)
	s.life.giveWay()
	return page, err
}

// agentKey marks the calls in which a replica writes down what an agent said.
type agentKey struct{}

func agentSpeaks() context.Context { return context.WithValue(context.Background(), agentKey{}, true) }

func (s *simStore) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	l := s.life
	if ctx.Value(agentKey{}) == nil && !slices.Contains(t.If, l.reign.guard) {
		l.fail("leader %d writes %s without its guard", l.n, t.Then[0].Key)
	}
	l.giveWay()
	switch {
	case l.dead:
		return 0, errSimDead
	case l.fault(.02):
		l.die("before a write")
		return 0, errSimDead
	case l.fault(.03):
		return 0, &store.UnknownError{Err: errors.New("not applied")}
	case l.fault(.03): // still in the wire
		l.after(l.within(0, 5*time.Second), func() { l.commit(l, t) })
		return 0, &store.UnknownError{Err: errors.New("late")}
	}
	rev, err := l.commit(l, t)
	switch {
	case l.fault(.02):
		l.die("after a write")
		return 0, errSimDead
	case err == nil && l.fault(.03):
		return 0, &store.UnknownError{Err: errors.New("the answer was lost")}
	}
	l.giveWay()
	return rev, err
}

// put writes as somebody who is not the controller.
func (s *sim) put(op store.Op) store.Revision {
	rev, err := s.commit(nil, store.Txn{Then: []store.Op{op}})
	if err != nil {
		s.fail("put %s: %v", op.Key, err)
	}
	return rev
}

// commit writes, checks what changed, and folds it into a new view.
func (s *sim) commit(by *life, t store.Txn) (store.Revision, error) {
	before := map[string]store.KV{}
	for _, op := range t.Then {
		if kv, _, err := s.records.Get(context.Background(), op.Key, store.ReadOptions{}); err == nil {
			before[op.Key] = kv
		}
	}
	rev, err := s.records.Commit(context.Background(), t)
	if err != nil {
		return rev, err
	}
	if rev == s.views[len(s.views)-1].Rev {
		return rev, nil // it changed nothing
	}
	events := make([]store.Event, 0, len(t.Then))
	for _, op := range t.Then {
		events = append(events, store.Event{KV: store.KV{Key: op.Key, Value: op.Value, Mod: rev}, Deleted: op.Delete})
	}
	view, err := s.views[len(s.views)-1].With(rev, events)
	if err != nil {
		s.fail("the view: %v", err)
		return rev, err
	}
	s.views = append(s.views, view)
	s.checkWrite(by, t, before, view)
	return rev, nil
}

// member is a member as it is recorded now.
func (s *sim) member(c topology.ClusterID, m topology.MemberID) (topology.MemberRecord, bool) {
	cl := s.views[len(s.views)-1].Cluster(c)
	if cl == nil {
		return topology.MemberRecord{}, false
	}
	return cl.Member(m)
}
