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
	if in, err = r.holdAttempt(ctx, in); err != nil {
		return err
	}
	unsure := !in.Value.SentAt.IsZero() // a call left, and nobody knows what became of it
	doubted := r.isDoubted(m.ID)
	if unsure && (doubted || a.Capabilities().Idempotency == cloud.ByTags) {
		found, settled := r.resolve(in.Value, a)
		switch {
		case found != nil:
			return r.launched(ctx, m, *found)
		case !settled:
			r.observers[a.Name].ask(m.Cluster)
			return nil
		case doubted:
			return r.refused(ctx, m, in, errDoubted)
		}
		unsure = false
	}
	if !unsure {
		if in, err = r.markSent(ctx, in); err != nil {
			return err
		}
	}
	r.trace(BeforeS3, m.ID)
	r.leaves(m.ID)
	inst, err := a.Launch(ctx, in.Value.Spec)
	switch {
	case err == nil:
		r.trace(AfterS3, m.ID)
		return r.launched(ctx, m, inst)
	case !cloud.SurelyNot(err) || errors.Is(err, cloud.ErrThrottled):
		return err // unknown, or never asked: the same request again
	case unsure:
		r.doubt(m.ID)
		return err
	default:
		return errors.Join(err, r.refused(ctx, m, in, err))
	}
}

// holdAttempt makes sure that a write of the next attempt, whose outcome is
// unknown, does not come after all: before a call of this attempt leaves, the
// intent is written again as it is, and the late write is in conflict with that.
func (r *run) holdAttempt(ctx context.Context, in store.Record[intent]) (store.Record[intent], error) {
	r.mu.Lock()
	wavers := r.wavering[in.Value.Member]
	r.mu.Unlock()
	if !wavers {
		return in, nil
	}
	op, err := in.Put()
	if err != nil {
		return in, err
	}
	if in.Mod, err = r.commit(ctx, in.Value.Cluster, []store.Cond{in.Unchanged()}, []store.Op{op}); err != nil {
		return in, err
	}
	r.mu.Lock()
	delete(r.wavering, in.Value.Member)
	r.mu.Unlock()
	return in, nil
}

// errDoubted is why an attempt is given up that was refused after a call whose
// answer was lost, once it is sure that neither made an instance.
var errDoubted = errors.New("refused by the cloud, and no instance of former calls has shown")

// doubt records, for this reign, that a launch was refused while a former call
// of the same attempt may have made an instance: the refusal does not prove
// that there is none.
func (r *run) doubt(m topology.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubted[m] = true
}

func (r *run) isDoubted(m topology.MemberID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doubted[m]
}

// leaves records that a launch is about to leave.
func (r *run) leaves(m topology.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[m] = r.clock.now()
}

// left is when the last launch of a member may have left. What a former leader
// sent, it sent before this reign; its clock proves nothing.
func (r *run) left(m topology.MemberID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.sent[m]; ok {
		return at
	}
	return r.started
}

// markSent is S2: only after it may a call leave.
func (r *run) markSent(ctx context.Context, in store.Record[intent]) (store.Record[intent], error) {
	r.trace(BeforeS2, in.Value.Member)
	in.Value.SentAt = r.clock.now()
	in.Value.Spec.Tags = maps.Clone(in.Value.Spec.Tags)
	in.Value.Spec.Tags[cloud.TagSentAt] = in.Value.SentAt.UTC().Format(time.RFC3339Nano)
	op, err := in.Put()
	if err != nil {
		return in, err
	}
	// What was committed is sent. Read again, it could be the next attempt, of
	// another leader, for which nobody has marked that a call leaves.
	if in.Mod, err = r.commit(ctx, in.Value.Cluster, []store.Cond{in.Unchanged()}, []store.Op{op}); err != nil {
		return in, err
	}
	r.trace(AfterS2, in.Value.Member)
	return in, nil
}

// resolve looks for an instance of an attempt whose outcome is unknown.
// settled: it is not there, and cannot appear any more. Both are measured on
// this reign's own clock.
func (r *run) resolve(in intent, a *cloud.Account) (found *cloud.Instance, settled bool) {
	list := r.observers[a.Name].latest()
	if list == nil {
		return nil, false
	}
	for _, i := range list.byMember[in.Member] {
		if i.Tags[cloud.TagAttempt] == in.Spec.Tags[cloud.TagAttempt] && (found == nil || i.Launched.Before(found.Launched)) {
			found = &i
		}
	}
	return found, found == nil && list.at.After(r.left(in.Member).Add(a.Settle()))
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
		return r.to(m, topology.Initialized, "launched", r.clock.now(), m.Deadline)
	})
	if err == nil {
		r.trace(AfterS4, m.ID)
	}
	return err
}

// refused records that an attempt surely made nothing: another one, in the
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
		if rec.Value, err = r.to(rec.Value, topology.Terminating, why.Error(), r.clock.now(), time.Time{}); err != nil {
			return err
		}
		return r.another(ctx, rec, in, next)
	}
	rec.Value.Reason = why.Error()
	where, ok := r.ledger.book(r.placesAfter(partition{rec.Value.Account, rec.Value.Partition}))
	if ok {
		rec.Value.Account, rec.Value.Partition = where.account, where.name
		defer r.ledger.giveBack(where) // its cluster's next view has it
	}
	return r.another(ctx, rec, in, next)
}

// another records the next attempt: nothing is in the wire.
func (r *run) another(ctx context.Context, rec store.Record[topology.Member], in store.Record[intent], attempt int) error {
	token, hash := newJoinToken()
	rec.Value.JoinHash = hash
	var err error
	if in.Value, err = r.renderIntent(r.id, rec.Value, token, in.Value.Spec.Size, attempt); err != nil {
		return err
	}
	mop, err := rec.Put()
	if err != nil {
		return err
	}
	iop, err := in.Put()
	if err != nil {
		return err
	}
	if _, err := r.commit(ctx, rec.Value.Cluster, []store.Cond{rec.Unchanged(), in.Unchanged()}, []store.Op{mop, iop}); err != nil {
		var unknown *store.UnknownError
		if errors.As(err, &unknown) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.wavering[rec.Value.ID] = true
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sent, rec.Value.ID)
	delete(r.doubted, rec.Value.ID)
	return nil
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
	r.ended[m.ID] = r.clock.now()
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
	now := r.clock.now()
	next, err := r.to(m.Member, topology.Terminated, m.Reason, now, now.Add(r.tombstoneFor(a)))
	if err != nil {
		return err
	}
	m.Member = next
	return r.write(ctx, m)
}
