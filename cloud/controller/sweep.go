package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// sweeper remembers the orphans of one account between two sweeps.
type sweeper struct {
	suspects map[cloud.InstanceID]bool
}

// sweepLimit is how many orphans, of so many instances, one pass may end.
func sweepLimit(instances int) int { return max(5, instances/20) }

// sweep ends instances that belong to nobody. The cloud was listed first, in
// l, and only now is the store read: the other order would kill the instances
// of members that were recorded in between.
func (o *observer) sweep(ctx context.Context, l *listing, waiting map[topology.ClusterID]bool) error {
	members, err := o.members(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if _, there := l.byID[cloud.InstanceID(m.Instance)]; m.Account == o.account.Name && m.Instance != "" && !there && m.State != topology.Terminated {
			waiting[m.Cluster] = true // its instance is missing: look closer
		}
	}
	now := o.reign.clock.now()
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
	slices.SortFunc(orphans, func(a, b cloud.Instance) int {
		return cmp.Or(a.Launched.Compare(b.Launched), cmp.Compare(a.ID, b.ID))
	})
	return o.endOrphans(ctx, orphans, len(l.byID))
}

// members are all that are recorded, as of now.
func (o *observer) members(ctx context.Context) (map[topology.MemberID]topology.Member, error) {
	recs, _, err := store.ReadAll[topology.Member](ctx, o.reign.Store, topology.MemberPrefix)
	if err != nil {
		return nil, err
	}
	members := make(map[topology.MemberID]topology.Member, len(recs))
	for _, r := range recs {
		members[r.Value.ID] = r.Value
	}
	return members, nil
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

// endOrphans ends a few orphans. Many at once are more likely a mistake of
// ours than a leak, and those of another generation of the store (a backup was
// restored) may serve what was lost with it: they wait for an operator.
func (o *observer) endOrphans(ctx context.Context, orphans []cloud.Instance, total int) error {
	limit := sweepLimit(total)
	ours, former := o.byGeneration(orphans)
	end := ours
	if len(former) > 0 || len(ours) > limit {
		k, err := o.reign.consents(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("sweep: %w", err)
		case o.reign.clock.now().Before(k.Sweep):
			end, former = orphans, nil
			end = end[:min(limit, len(end))]
		case len(ours) > limit:
			o.reign.log().Error("more orphans than a sweep may end: none is ended; look at them, then allow the sweep",
				"account", o.account.Name, "orphans", len(ours), "limit", limit)
			end, former = nil, orphans
		}
	}
	if o.reign.orphans.wait(o.account.Name, former) {
		o.reign.log().Warn("instances that belong to no member are left alone; look at them, then allow the sweep",
			"account", o.account.Name, "instances", len(former))
	}
	for _, i := range end {
		o.reign.log().Warn("ending an instance that belongs to no member", "account", o.account.Name, "instance", i.ID)
		if err := o.account.Terminate(ctx, i.ID); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// byGeneration parts the orphans of this generation of the store from others.
func (o *observer) byGeneration(orphans []cloud.Instance) (ours, former []cloud.Instance) {
	gen := strconv.FormatInt(o.reign.id.Generation, 10)
	for _, i := range orphans {
		if i.Tags[cloud.TagGen] == gen {
			ours = append(ours, i)
		} else {
			former = append(former, i)
		}
	}
	return ours, former
}

// orphans are, by account, the instances that sweeps found and left alone.
type orphans struct {
	mu      sync.Mutex
	waiting map[string][]cloud.Instance
}

// wait replaces those of one account, and reports whether there are more than before.
func (o *orphans) wait(account string, all []cloud.Instance) (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = map[string][]cloud.Instance{}
	}
	more = len(all) > len(o.waiting[account])
	o.waiting[account] = all
	return more
}

func (o *orphans) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = nil
}

// Orphans returns, by account, the instances that belong to no member and wait
// for [Controller.AllowSweep]: because there are more than a sweep may end, or
// because they were launched before a backup was restored. Only the leader
// knows; elsewhere it is empty.
func (c *Controller) Orphans() map[string][]cloud.Instance {
	c.orphans.mu.Lock()
	defer c.orphans.mu.Unlock()
	all := map[string][]cloud.Instance{}
	for account, some := range c.orphans.waiting {
		if len(some) > 0 {
			all[account] = slices.Clone(some)
		}
	}
	return all
}
