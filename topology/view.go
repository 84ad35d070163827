package topology

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gostratos/stratos/store"
)

// View is the topology at one revision. It is immutable and may be shared;
// what its methods return must not be changed.
type View struct {
	Rev      store.Revision
	clusters map[ClusterID]*ClusterView
}

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
	members map[MemberID]MemberRecord
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

// Member returns a member of the cluster.
func (c *ClusterView) Member(id MemberID) (MemberRecord, bool) {
	m, ok := c.members[id]
	return m, ok
}

// Members returns the members, oldest first.
func (c *ClusterView) Members() []MemberRecord {
	return slices.SortedFunc(maps.Values(c.members), func(a, b MemberRecord) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
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

// Cluster returns a cluster, or nil.
func (v *View) Cluster(id ClusterID) *ClusterView { return v.clusters[id] }

// Clusters yields all clusters in the order of their ids.
func (v *View) Clusters() iter.Seq[*ClusterView] {
	return func(yield func(*ClusterView) bool) {
		for _, id := range slices.Sorted(maps.Keys(v.clusters)) {
			if !yield(v.clusters[id]) {
				return
			}
		}
	}
}

// Len is the number of clusters.
func (v *View) Len() int { return len(v.clusters) }

// Source hands out views.
type Source interface {
	// Next returns the first view whose revision is above after, and waits for
	// it if there is none yet. It may be called concurrently.
	Next(ctx context.Context, after store.Revision) (*View, error)
}

// With returns the view after one transaction. Records that are not part of
// the topology are passed over; a record that cannot be read is an error that
// names its key, and the view is not changed.
func (v *View) With(rev store.Revision, events []store.Event) (*View, error) {
	w := &View{Rev: rev, clusters: v.clusters}
	fresh := map[ClusterID]*ClusterView{} // those already copied
	for _, e := range events {
		id, ok := clusterOf(e.Key)
		if !ok {
			continue
		}
		c := fresh[id]
		if c == nil {
			if len(fresh) == 0 {
				w.clusters = maps.Clone(v.clusters)
				if w.clusters == nil {
					w.clusters = map[ClusterID]*ClusterView{}
				}
			}
			c = v.clusters[id].clone(id)
			fresh[id] = c
		}
		c.Rev = rev
		if err := c.apply(e); err != nil {
			return v, err
		}
		w.clusters[id] = c
		if c.empty() {
			delete(w.clusters, id)
		}
	}
	return w, nil
}

// clusterOf says which cluster a key belongs to.
func clusterOf(key string) (ClusterID, bool) {
	for _, p := range []string{ClusterPrefix, WantPrefix} {
		if id, ok := strings.CutPrefix(key, p); ok {
			return ClusterID(id), true
		}
	}
	if !strings.HasPrefix(key, MemberPrefix) {
		return "", false
	}
	id, _, ok := splitMemberKey(key)
	return id, ok
}

func (c *ClusterView) clone(id ClusterID) *ClusterView {
	if c == nil {
		return &ClusterView{Cluster: Cluster{ID: id}, members: map[MemberID]MemberRecord{}}
	}
	d := *c
	d.members = maps.Clone(c.members)
	return &d
}

func (c *ClusterView) empty() bool { return !c.Known && c.Want == nil && len(c.members) == 0 }

func (c *ClusterView) apply(e store.Event) error {
	switch {
	case strings.HasPrefix(e.Key, ClusterPrefix):
		return c.applyCluster(e)
	case strings.HasPrefix(e.Key, WantPrefix):
		return c.applyWant(e)
	}
	_, id, _ := splitMemberKey(e.Key)
	if e.Deleted {
		delete(c.members, id)
		return nil
	}
	r, err := store.Decode[Member](e.KV)
	if err != nil {
		return err
	}
	c.members[id] = MemberRecord{Member: r.Value, Mod: e.Mod}
	return nil
}

func (c *ClusterView) applyCluster(e store.Event) error {
	if e.Deleted {
		c.Known, c.mod, c.Cluster = false, 0, Cluster{ID: c.Cluster.ID}
		return nil
	}
	r, err := store.Decode[Cluster](e.KV)
	if err != nil {
		return err
	}
	c.Known, c.mod, c.Cluster = true, e.Mod, r.Value
	return nil
}

func (c *ClusterView) applyWant(e store.Event) error {
	if e.Deleted {
		c.Want, c.wantMod = nil, 0
		return nil
	}
	r, err := store.Decode[Want](e.KV)
	if err != nil {
		return err
	}
	c.Want, c.wantMod = &r.Value, e.Mod
	return nil
}
