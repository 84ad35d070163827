package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// send asks for a Created member's instance: S2, S3 and S4. It may find itself
// anywhere in the middle, after a crash or a lost answer.
func (r *run) send(ctx context.Context, m topology.MemberRecord) error {
	in, err := store.Read[intent](ctx, r.Store, intentKey(m.ID))
	if err != nil {
		return err
	}
	a := r.account(in.Value.Account)
	if a == nil {
		return fmt.Errorf("account %q is not configured any more: add it, or terminate the member", in.Value.Account)
	}
	mustMark := in.Value.SentAt.IsZero()
	if !mustMark && a.Capabilities().Idempotency == cloud.ByTags {
		found, settled := r.resolve(in.Value, a)
		if found != nil {
			return r.launched(ctx, m, *found)
		}
		if !settled {
			r.observers[a.Name].ask(m.Cluster)
			return nil
		}
		mustMark = true
	}
	if mustMark {
		if in, err = r.markSent(ctx, in); err != nil {
			return err
		}
	}
	r.trace(BeforeS3, m.ID)
	inst, err := a.Launch(ctx, in.Value.Spec)
	switch {
	case err == nil:
		r.trace(AfterS3, m.ID)
		return r.launched(ctx, m, inst)
	case cloud.SurelyNot(err) && !errors.Is(err, cloud.ErrThrottled):
		return errors.Join(err, r.refused(ctx, m, in, err))
	default:
		return err // unknown: the same request again
	}
}

// markSent is S2: only after it may a call leave.
func (r *run) markSent(ctx context.Context, in store.Record[intent]) (store.Record[intent], error) {
	r.trace(BeforeS2, in.Value.Member)
	in.Value.SentAt = time.Now()
	in.Value.Spec.Tags = maps.Clone(in.Value.Spec.Tags)
	in.Value.Spec.Tags[cloud.TagSentAt] = in.Value.SentAt.UTC().Format(time.RFC3339Nano)
	op, err := in.Put()
	if err != nil {
		return in, err
	}
	if err := r.commit(ctx, in.Value.Cluster, []store.Cond{in.Unchanged()}, []store.Op{op}); err != nil {
		return in, err
	}
	r.trace(AfterS2, in.Value.Member)
	return store.Read[intent](ctx, r.Store, in.Key)
}

// resolve looks for an instance of an attempt whose outcome is unknown.
// settled: it is not there, and cannot appear any more.
func (r *run) resolve(in intent, a *cloud.Account) (found *cloud.Instance, settled bool) {
	list := r.observers[a.Name].latest()
	if list == nil || list.at.Before(in.SentAt) {
		return nil, false
	}
	for _, i := range list.byMember[in.Member] {
		if i.Tags[cloud.TagAttempt] == in.Spec.Tags[cloud.TagAttempt] && (found == nil || i.Launched.Before(found.Launched)) {
			found = &i
		}
	}
	return found, found == nil && list.at.After(in.SentAt.Add(a.Settle()))
}

// launched is S4: the instance's id is recorded, unless there is one already.
func (r *run) launched(ctx context.Context, m topology.MemberRecord, inst cloud.Instance) error {
	r.trace(BeforeS4, m.ID)
	_, err := r.update(ctx, m.Cluster, m.ID, []store.Cond{r.guard}, func(m topology.Member) (topology.Member, error) {
		if m.Instance != "" && m.Instance != topology.InstanceID(inst.ID) {
			return m, nil // adopted another way; this one is swept
		}
		m.Instance = topology.InstanceID(inst.ID)
		if len(inst.Addresses) > 0 {
			m.Address = inst.Addresses[0]
		}
		if m.State != topology.Created {
			return m, nil // cancelled meanwhile, or adopted by its agent's join
		}
		return m.To(topology.Initialized, "launched", time.Now(), m.Deadline)
	})
	if err == nil {
		r.trace(AfterS4, m.ID)
	}
	return err
}

// refused records that a launch surely made nothing: another attempt, in the
// next place, or the end of the member.
func (r *run) refused(ctx context.Context, m topology.MemberRecord, in store.Record[intent], why error) error {
	rec, err := store.Read[topology.Member](ctx, r.Store, topology.MemberKey(m.Cluster, m.ID))
	if err != nil {
		return err
	}
	if rec.Value.State != topology.Created {
		return nil
	}
	next := in.Value.Attempt + 1
	if next > r.attempts() {
		rec.Value.Failed = true
		rec.Value, err = rec.Value.To(topology.Terminating, why.Error(), time.Now(), time.Time{})
	} else {
		rec.Value.Reason = why.Error()
		v, verr := r.Topology.Next(ctx, 0)
		if verr != nil {
			return verr
		}
		if account, partition, ok := r.places(v).after(rec.Value.Account, rec.Value.Partition); ok {
			rec.Value.Account, rec.Value.Partition = account, partition
		}
	}
	if err != nil {
		return err
	}
	token, hash := newJoinToken()
	rec.Value.JoinHash = hash
	fresh, err := r.renderIntent(r.id, rec.Value, token, in.Value.Spec.Size, next)
	if err != nil {
		return err
	}
	in.Value = fresh // SentAt is zero: nothing is in the wire
	mop, err := rec.Put()
	if err != nil {
		return err
	}
	iop, err := in.Put()
	if err != nil {
		return err
	}
	return r.commit(ctx, m.Cluster, []store.Cond{rec.Unchanged(), in.Unchanged()}, []store.Op{mop, iop})
}

// end asks for the end of a Terminating member's instance. It is called until
// the cloud says that the instance is gone.
func (r *run) end(ctx context.Context, m topology.MemberRecord) error {
	a := r.account(m.Account)
	if a == nil {
		return fmt.Errorf("account %q is not configured any more: add it, so that the member's instance %s can be ended", m.Account, m.Instance)
	}
	if m.Instance == "" {
		return r.endUnknown(ctx, m, a)
	}
	if err := a.Terminate(ctx, cloud.InstanceID(m.Instance)); err != nil {
		return err
	}
	r.mu.Lock()
	r.ended[m.ID] = time.Now()
	r.mu.Unlock()
	r.observers[a.Name].ask(m.Cluster)
	return nil
}

// endUnknown ends a member whose instance is not recorded: whether there is
// one is found out first, else a late one would leak.
func (r *run) endUnknown(ctx context.Context, m topology.MemberRecord, a *cloud.Account) error {
	in, err := store.Read[intent](ctx, r.Store, intentKey(m.ID))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && !in.Value.SentAt.IsZero() {
		found, settled := r.resolve(in.Value, a)
		if found != nil {
			return r.launched(ctx, m, *found)
		}
		if !settled {
			r.observers[a.Name].ask(m.Cluster)
			return nil
		}
	}
	next, err := m.To(topology.Terminated, m.Reason, time.Now(), time.Now().Add(r.tombstoneFor(a)))
	if err != nil {
		return err
	}
	m.Member = next
	return r.write(ctx, m)
}
