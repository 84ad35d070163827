package controller

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// sweeper remembers the orphans of one account between two sweeps.
type sweeper struct {
	suspects map[cloud.InstanceID]bool
}

// sweep ends instances that belong to nobody. The cloud was listed first, in
// l, and only now is the store read: the other order would kill the instances
// of members that were recorded in between.
func (o *observer) sweep(ctx context.Context, l *listing, waiting map[topology.ClusterID]bool) error {
	recs, _, err := store.ReadAll[topology.Member](ctx, o.reign.Store, topology.MemberPrefix)
	if err != nil {
		return err
	}
	members := make(map[topology.MemberID]topology.Member, len(recs))
	for _, r := range recs {
		m := r.Value
		members[m.ID] = m
		if _, there := l.byID[cloud.InstanceID(m.Instance)]; m.Account == o.account.Name && m.Instance != "" && !there && m.State != topology.Terminated {
			waiting[m.Cluster] = true // its instance is missing: look closer
		}
	}
	now := time.Now()
	suspects := map[cloud.InstanceID]bool{}
	var orphans []cloud.Instance
	for _, i := range l.byID {
		if !o.orphan(i, members, now) {
			continue
		}
		suspects[i.ID] = true
		if o.sweeper.suspects[i.ID] && now.Sub(i.Launched) > o.reign.orphanGrace(o.account) {
			orphans = append(orphans, i)
		}
	}
	o.sweeper.suspects = suspects
	return o.endOrphans(ctx, orphans, len(l.byID))
}

// orphan reports whether an instance belongs to no member: none is recorded,
// or it records another instance, or it is a tombstone whose late instances
// had time to show.
func (o *observer) orphan(i cloud.Instance, members map[topology.MemberID]topology.Member, now time.Time) bool {
	m, ok := members[topology.MemberID(i.Tags[cloud.TagMember])]
	switch {
	case !ok:
		return true
	case m.State == topology.Terminated:
		return now.Sub(m.Since) > o.account.Settle()
	default:
		return m.Instance != "" && m.Instance != topology.InstanceID(i.ID)
	}
}

// endOrphans ends a few orphans; many at once are more likely a mistake of
// ours than a leak. Those of another generation of the store (a backup was
// restored) are only reported.
func (o *observer) endOrphans(ctx context.Context, orphans []cloud.Instance, total int) error {
	limit := max(5, total/20)
	if len(orphans) > limit {
		o.reign.log().Error("more orphans than a sweep may end: none is ended; look at them", "account", o.account.Name, "orphans", len(orphans), "limit", limit)
		return nil
	}
	for _, i := range orphans {
		if i.Tags[cloud.TagGen] != strconv.FormatInt(o.reign.id.Generation, 10) {
			o.reign.log().Warn("instance of another generation of the store belongs to no member; it is left alone", "account", o.account.Name, "instance", i.ID)
			continue
		}
		o.reign.log().Warn("ending an instance that belongs to no member", "account", o.account.Name, "instance", i.ID)
		if err := o.account.Terminate(ctx, i.ID); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}
