package controller

import (
	"context"
	"errors"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// write replaces a member's record, if nobody else did.
func (r *run) write(ctx context.Context, m topology.MemberRecord) error {
	rec, err := store.Read[topology.Member](ctx, r.Store, topology.MemberKey(m.Cluster, m.ID))
	if err != nil {
		return err
	}
	rec.Mod, rec.Value = m.Mod, m.Member
	op, err := rec.Put()
	if err != nil {
		return err
	}
	ops := []store.Op{op}
	if m.State == topology.Terminated {
		ops = append(ops, store.Op{Key: intentKey(m.ID), Delete: true})
		r.forget(m.ID)
	}
	r.log().Debug("member", "cluster", m.Cluster, "member", m.ID, "state", m.State, "reason", m.Reason)
	_, err = r.commit(ctx, m.Cluster, []store.Cond{rec.Unchanged()}, ops)
	return err
}

// remove deletes a tombstone.
func (r *run) remove(ctx context.Context, m topology.MemberRecord) error {
	key := topology.MemberKey(m.Cluster, m.ID)
	_, err := r.commit(ctx, m.Cluster, []store.Cond{{Key: key, Rev: m.Mod}}, []store.Op{{Key: key, Delete: true}})
	return err
}

// commit writes as the leader, and remembers the revision, so that the next
// look at the cluster sees what was written, or what it was in conflict with.
func (r *run) commit(ctx context.Context, id topology.ClusterID, conds []store.Cond, ops []store.Op) (store.Revision, error) {
	rev, err := r.Store.Commit(ctx, store.Txn{If: append([]store.Cond{r.guard}, conds...), Then: ops})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		rev = conflict.Rev
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.minRev[id] = max(r.minRev[id], rev)
	return rev, err
}

// resolveS1 finds out what became of a member whose S1 has an unknown outcome,
// before the cluster's supply is counted again: it may still be written. The
// same transaction is written again; one of the two is in conflict with the other.
func (r *run) resolveS1(ctx context.Context, id topology.ClusterID) error {
	r.mu.Lock()
	t, ok := r.unsettled[id]
	r.mu.Unlock()
	if !ok {
		return nil
	}
	_, err := r.commit(ctx, id, t.If, t.Then)
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unsettled, id)
	return nil
}
