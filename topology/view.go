package topology

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/gostratos/stratos/store"
)

// View is the topology at one revision. It is immutable and may be shared;
// what its methods return must not be changed.
//
// Views share what did not change: a transaction costs what it touches,
// however many clusters there are, and [View.Changed] finds what two views
// differ in without looking at the rest.
type View struct {
	Rev    store.Revision
	parts  [shards]*shard
	n      int    // clusters
	order  *order // nil: sort when asked
	digest Digest
}

// Source hands out views.
type Source interface {
	// Next returns the first view whose revision is above after, and waits for
	// it if there is none yet. It may be called concurrently.
	Next(ctx context.Context, after store.Revision) (*View, error)
}

// Cluster returns a cluster, or nil.
func (v *View) Cluster(id ClusterID) *ClusterView { return v.parts[shardOf(id)].get(id) }

// Clusters yields all clusters in the order of their ids.
func (v *View) Clusters() iter.Seq[*ClusterView] {
	return func(yield func(*ClusterView) bool) {
		if v.order == nil {
			return // no cluster ever came
		}
		for _, id := range v.order.of(v) {
			if !yield(v.Cluster(id)) {
				return
			}
		}
	}
}

// Changed yields the clusters that are another *ClusterView than in since, in
// the order of their ids: those that came, changed, or are gone. Since nil,
// that is all of them. Between views of one source, and between a view and what
// With and Whole made of it, the cost is in the changes, not in the clusters.
func (v *View) Changed(since *View) iter.Seq[ClusterID] {
	if since == nil {
		since = &View{}
	}
	return func(yield func(ClusterID) bool) {
		var ids []ClusterID
		for i, now := range v.parts {
			ids = now.changed(since.parts[i], ids)
		}
		slices.Sort(ids)
		for _, id := range ids {
			if !yield(id) {
				return
			}
		}
	}
}

// changed appends the ids of the clusters in which the shards differ.
func (s *shard) changed(since *shard, ids []ClusterID) []ClusterID {
	if s == since {
		return ids
	}
	for id, c := range s.all() {
		if since.get(id) != c {
			ids = append(ids, id)
		}
	}
	for id := range since.all() {
		if s.get(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Len is the number of clusters.
func (v *View) Len() int { return v.n }

// Digest sums up all records of the view.
func (v *View) Digest() Digest { return v.digest }

// With returns the view after one transaction. Records that are not part of
// the topology are passed over; a record that cannot be read is an error that
// names its key, and the view is not changed.
func (v *View) With(rev store.Revision, events []store.Event) (*View, error) {
	w := *v
	w.Rev = rev
	fresh := map[ClusterID]*ClusterView{} // those already copied
	for _, e := range events {
		id, ok := clusterOf(e.Key)
		if !ok {
			continue
		}
		c := fresh[id]
		if c == nil {
			c = v.Cluster(id).clone(id)
			c.Rev = rev
			fresh[id] = c
		}
		if err := c.apply(e); err != nil {
			return v, err
		}
	}
	for id, c := range fresh {
		if c.empty() {
			c = nil
		}
		w.put(v, id, c)
	}
	return &w, nil
}

// Whole returns the view that consists of these records, all there are. What
// is the same as in v, of the same store, is shared with it.
func (v *View) Whole(rev store.Revision, events []store.Event) (*View, error) {
	w, err := (&View{}).With(rev, events)
	if err != nil {
		return v, err
	}
	for i, now := range w.parts {
		was := v.parts[i]
		same := len(now.all()) == len(was.all())
		for id, c := range now.all() {
			if old := was.get(id); c.same(old) {
				now.clusters[id] = old
			} else {
				same = false
			}
		}
		if same {
			w.parts[i] = was
		}
	}
	return w, nil
}

// put sets a cluster, nil for none, in a view that was made from old and that
// nobody else has yet.
func (v *View) put(old *View, id ClusterID, c *ClusterView) {
	i := shardOf(id)
	was := v.parts[i].get(id)
	if was == nil && c == nil {
		return
	}
	if v.parts[i] == old.parts[i] {
		v.parts[i] = old.parts[i].clone()
	}
	if was != nil {
		v.digest = v.digest.Minus(was.digest)
		delete(v.parts[i].clusters, id)
		v.n--
	}
	if c != nil {
		v.digest = v.digest.Plus(c.digest)
		v.parts[i].clusters[id] = c
		v.n++
	}
	if (was == nil) != (c == nil) && v.order == old.order {
		v.order = &order{}
	}
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
