package controller

import (
	"sync"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// partition names a part of an account.
type partition struct{ account, name string }

// ledger counts the members of the whole platform. Each cluster's share is
// replaced when the cluster changes, so a change costs its cluster, not all.
type ledger struct {
	mu     sync.Mutex
	used   map[partition]int // whatever is not Terminated takes room
	live   int               // members that are not ending
	shares map[topology.ClusterID]*share
}

// share is what one cluster adds to the ledger.
type share struct {
	rev  store.Revision // the cluster's newest change that is in it
	used map[partition]int
	live int
}

func newLedger() *ledger {
	return &ledger{used: map[partition]int{}, shares: map[topology.ClusterID]*share{}}
}

// saw replaces a cluster's share by what a view shows, unless the ledger knows
// of something newer.
func (l *ledger) saw(c *topology.ClusterView, members []topology.MemberRecord) {
	s := &share{rev: c.Rev, used: map[partition]int{}}
	for _, m := range members {
		if m.State == topology.Terminated {
			continue
		}
		s.used[partition{m.Account, m.Partition}]++
		if m.State != topology.Terminating {
			s.live++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.shares[c.Cluster.ID]; old == nil || old.rev < c.Rev {
		l.replace(c.Cluster.ID, s)
	}
}

// knows reports whether a view of a cluster is no news.
func (l *ledger) knows(c *topology.ClusterView) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shares[c.Cluster.ID]
	return s != nil && s.rev >= c.Rev
}

// lost drops the share of a cluster that is no longer there.
func (l *ledger) lost(id topology.ClusterID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replace(id, nil)
}

// replace puts a new share in the place of the old one; l.mu is held.
func (l *ledger) replace(id topology.ClusterID, s *share) {
	if old := l.shares[id]; old != nil {
		for p, n := range old.used {
			l.used[p] -= n
		}
		l.live -= old.live
		delete(l.shares, id)
	}
	if s == nil {
		return
	}
	for p, n := range s.used {
		l.used[p] += n
	}
	l.live += s.live
	l.shares[id] = s
}

// members is how many there are in the platform that are not ending.
func (l *ledger) members() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live
}

// book takes room in the first of the places that has some, for one member.
// It is given back, or recorded in its cluster's share.
func (l *ledger) book(places []place) (partition, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range places {
		if p.limit == 0 || l.used[p.partition] < p.limit {
			l.used[p.partition]++
			return p.partition, true
		}
	}
	return partition{}, false
}

// giveBack undoes a booking.
func (l *ledger) giveBack(p partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used[p]--
}

// recorded makes a booking part of a cluster's share: the store has the member
// since rev, and views before rev show less.
func (l *ledger) recorded(id topology.ClusterID, p partition, rev store.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shares[id]
	if s == nil {
		s = &share{used: map[partition]int{}}
		l.shares[id] = s
	}
	if s.rev >= rev {
		l.used[p]-- // a view has shown it already
		return
	}
	s.rev = rev - 1
	s.used[p]++
	s.live++
	l.live++
}
