package stream

import (
	"encoding/json"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// diff lists what changed within a scope from one view to a newer one; from
// nil, it lists everything. Views share what did not change, so clusters are
// compared by pointer first.
func diff(from, to *topology.View, scope Scope) ([]change, error) {
	d := differ{}
	for now := range to.Clusters() {
		if !scope.Has(now) {
			continue
		}
		var before *topology.ClusterView
		if from != nil {
			before = from.Cluster(now.Cluster.ID)
		}
		if before != now {
			d.cluster(before, now)
		}
	}
	if from != nil {
		for before := range from.Clusters() {
			id := before.Cluster.ID
			if now := to.Cluster(id); scope.Has(before) && (now == nil || !scope.Has(now)) {
				d.cluster(before, nil)
			}
		}
	}
	return d.changes, d.err
}

type differ struct {
	changes []change
	err     error
}

func (d *differ) cluster(before, now *topology.ClusterView) {
	if before == nil {
		before = &topology.ClusterView{}
	}
	if now == nil {
		now = &topology.ClusterView{Cluster: topology.Cluster{ID: before.Cluster.ID}}
	}
	id := now.Cluster.ID
	if now.Known && now.Mod() != before.Mod() {
		d.put(topology.ClusterKey(id), now.Mod(), now.Cluster)
	}
	if before.Known && !now.Known {
		d.gone(topology.ClusterKey(id))
	}
	if now.Want != nil && now.WantMod() != before.WantMod() {
		d.put(topology.WantKey(id), now.WantMod(), now.Want)
	}
	if before.Want != nil && now.Want == nil {
		d.gone(topology.WantKey(id))
	}
	for _, m := range now.Members() {
		if was, ok := before.Member(m.ID); !ok || was.Mod != m.Mod {
			d.put(topology.MemberKey(id, m.ID), m.Mod, m.Public())
		}
	}
	for _, m := range before.Members() {
		if _, ok := now.Member(m.ID); !ok {
			d.gone(topology.MemberKey(id, m.ID))
		}
	}
}

func (d *differ) put(key string, mod store.Revision, value any) {
	b, err := json.Marshal(value)
	if err != nil && d.err == nil {
		d.err = err
	}
	d.changes = append(d.changes, change{Key: key, Mod: mod, Value: b})
}

func (d *differ) gone(key string) { d.changes = append(d.changes, change{Key: key}) }
