package topology

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gostratos/stratos/store"
)

// ClusterView is a cluster with what belongs to it. Cluster.ID is always set;
// Known says whether the cluster's own record is there (members outlive it).
type ClusterView struct {
	Known   bool
	Cluster Cluster
	Want    *Want // nil: never scaled
	// Rev is the revision of the newest change in this cluster.
	Rev     store.Revision
	mod     store.Revision
	wantMod store.Revision
	members map[MemberID]*MemberRecord
	digest  Digest
}

// MemberRecord is a member and the revision it was last written at.
type MemberRecord struct {
	Member
	Mod store.Revision
}

// Mod is the revision at which the cluster's own record was last written.
func (c *ClusterView) Mod() store.Revision { return c.mod }

// WantMod is the revision at which the cluster's want was last written, 0 if never.
func (c *ClusterView) WantMod() store.Revision { return c.wantMod }

// Digest sums up the cluster's records: its own, its want and its members.
func (c *ClusterView) Digest() Digest { return c.digest }

// Member returns a member of the cluster.
func (c *ClusterView) Member(id MemberID) (MemberRecord, bool) {
	if m := c.members[id]; m != nil {
		return *m, true
	}
	return MemberRecord{}, false
}

// Members returns the members, oldest first.
func (c *ClusterView) Members() []MemberRecord {
	all := make([]MemberRecord, 0, len(c.members))
	for _, m := range slices.SortedFunc(maps.Values(c.members), older) {
		all = append(all, *m)
	}
	return all
}

// All yields the members in no order, and without the copies that
// [ClusterView.Members] makes: for those who only count. What it yields must
// not be changed.
func (c *ClusterView) All() iter.Seq[*MemberRecord] { return maps.Values(c.members) }

func older(a, b *MemberRecord) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}

// Supply counts the members that serve or soon will.
func (c *ClusterView) Supply() int { return c.count(State.Supply) }

// Count counts the members in one of the states.
func (c *ClusterView) Count(states ...State) int {
	return c.count(func(s State) bool { return slices.Contains(states, s) })
}

func (c *ClusterView) count(is func(State) bool) (n int) {
	for _, m := range c.members {
		if is(m.State) {
			n++
		}
	}
	return n
}

func (c *ClusterView) clone(id ClusterID) *ClusterView {
	if c == nil {
		return &ClusterView{Cluster: Cluster{ID: id}, members: map[MemberID]*MemberRecord{}}
	}
	d := *c
	d.members = maps.Clone(c.members)
	return &d
}

func (c *ClusterView) empty() bool { return !c.Known && c.Want == nil && len(c.members) == 0 }

// same reports whether both hold the same records. A record of one store is
// told by its key and its revision.
func (c *ClusterView) same(o *ClusterView) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.digest == o.digest
}

func (c *ClusterView) apply(e store.Event) error {
	switch {
	case strings.HasPrefix(e.Key, ClusterPrefix):
		return c.applyCluster(e)
	case strings.HasPrefix(e.Key, WantPrefix):
		return c.applyWant(e)
	}
	_, id, _ := splitMemberKey(e.Key)
	var was store.Revision
	if m := c.members[id]; m != nil {
		was = m.Mod
	}
	if e.Deleted {
		delete(c.members, id)
		c.resum(e.Key, was, 0)
		return nil
	}
	r, err := store.Decode[Member](e.KV)
	if err != nil {
		return err
	}
	c.share(&r.Value)
	c.members[id] = &MemberRecord{Member: r.Value, Mod: e.Mod}
	c.resum(e.Key, was, e.Mod)
	return nil
}

func (c *ClusterView) applyCluster(e store.Event) error {
	id, was := c.Cluster.ID, c.mod
	if e.Deleted {
		c.Known, c.mod, c.Cluster = false, 0, Cluster{ID: id}
	} else {
		r, err := store.Decode[Cluster](e.KV)
		if err != nil {
			return err
		}
		c.Known, c.mod, c.Cluster = true, e.Mod, r.Value
		c.Cluster.ID = id
	}
	c.resum(e.Key, was, c.mod)
	return nil
}

func (c *ClusterView) applyWant(e store.Event) error {
	was := c.wantMod
	if e.Deleted {
		c.Want, c.wantMod = nil, 0
	} else {
		r, err := store.Decode[Want](e.KV)
		if err != nil {
			return err
		}
		c.Want, c.wantMod = &r.Value, e.Mod
	}
	c.resum(e.Key, was, c.wantMod)
	return nil
}

// resum takes a record that went from one revision to another into the digest.
func (c *ClusterView) resum(key string, from, to store.Revision) {
	c.digest = c.digest.Minus(digestOf(key, from)).Plus(digestOf(key, to))
}
