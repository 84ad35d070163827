package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// errNoPlace says that no partition takes another member.
var errNoPlace = errors.New("every partition of every account is at its limit")

// create is S1: a member and its intent, in a place with room.
func (r *run) create(ctx context.Context, c *topology.ClusterView, release topology.Release) error {
	where, ok := r.ledger.book(r.places())
	if !ok {
		return fmt.Errorf("cluster %s: %w", c.Cluster.ID, errNoPlace)
	}
	rev, err := r.intend(ctx, c, release, where)
	if err != nil {
		r.ledger.giveBack(where)
		return err
	}
	r.ledger.recorded(c.Cluster.ID, where, rev)
	return nil
}

// intend records a member and its intent.
func (r *run) intend(ctx context.Context, c *topology.ClusterView, release topology.Release, where partition) (store.Revision, error) {
	now := r.clock.now()
	token, hash := newJoinToken()
	m, err := r.to(topology.Member{
		V: topology.Schema, ID: topology.NewMemberID(), Cluster: c.Cluster.ID, Created: now,
		Account: where.account, Partition: where.name, Assigned: &release, JoinHash: hash,
	}, topology.Created, "wanted", now, now.Add(r.boot()))
	if err != nil {
		return 0, err
	}
	in, err := r.renderIntent(r.id, m, token, c.Cluster.Size, 1)
	if err != nil {
		return 0, err
	}
	member := store.NewRecord(topology.MemberKey(m.Cluster, m.ID), m)
	wish := store.NewRecord(intentKey(m.ID), in)
	mop, err := member.Put()
	if err != nil {
		return 0, err
	}
	iop, err := wish.Put()
	if err != nil {
		return 0, err
	}
	r.trace(BeforeS1, m.ID)
	conds := []store.Cond{
		{Key: topology.ClusterKey(m.Cluster), Rev: c.Mod()},
		{Key: topology.WantKey(m.Cluster), Rev: c.WantMod()},
		member.Unchanged(), wish.Unchanged(),
	}
	rev, err := r.commit(ctx, m.Cluster, conds, []store.Op{mop, iop})
	var unknown *store.UnknownError
	if errors.As(err, &unknown) {
		r.mu.Lock()
		r.unsettled[m.Cluster] = store.Txn{If: conds, Then: []store.Op{mop, iop}}
		r.mu.Unlock()
	}
	if err != nil {
		return 0, err
	}
	r.trace(AfterS1, m.ID)
	r.log().Info("launching", "cluster", m.Cluster, "member", m.ID, "account", where.account, "release", release.Revision)
	return rev, nil
}
