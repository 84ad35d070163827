package topology

import (
	"maps"
	"slices"
	"sync"
)

// shards is into how many parts a view divides its clusters. A change copies
// the table of the parts and one part: at 10 000 clusters, 256 pointers and
// some 40 entries.
const shards = 256

// shard is a part of a view's clusters. It is never changed once a view has it.
type shard struct {
	clusters map[ClusterID]*ClusterView
}

// get is safe on nil, which is an empty shard.
func (s *shard) get(id ClusterID) *ClusterView {
	if s == nil {
		return nil
	}
	return s.clusters[id]
}

// all is safe on nil, too; what it returns must not be changed.
func (s *shard) all() map[ClusterID]*ClusterView {
	if s == nil {
		return nil
	}
	return s.clusters
}

func (s *shard) clone() *shard {
	if s == nil {
		return &shard{clusters: map[ClusterID]*ClusterView{}}
	}
	return &shard{clusters: maps.Clone(s.clusters)}
}

// shardOf says in which part a cluster is: 32-bit FNV-1a, the same everywhere.
func shardOf(id ClusterID) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % shards)
}

// order is the ids of a view's clusters, sorted when somebody first asks. Views
// with the same clusters share it.
type order struct {
	once sync.Once
	ids  []ClusterID
}

func (o *order) of(v *View) []ClusterID {
	o.once.Do(func() {
		o.ids = make([]ClusterID, 0, v.n)
		for _, s := range v.parts {
			for id := range s.all() {
				o.ids = append(o.ids, id)
			}
		}
		slices.Sort(o.ids)
	})
	return o.ids
}
