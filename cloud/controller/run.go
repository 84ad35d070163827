package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// workers is how many clusters are looked at at the same time.
const workers = 4

// Run reconciles until ctx or the leadership ends: a success. It returns a
// *store.FencedError when somebody else leads. All its goroutines have ended
// when it returns; instances live on.
func (c *Controller) Run(ctx context.Context, lead *store.Leadership) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lead.Context(), cancel)()
	id, err := c.Store.ID(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	r := &run{
		Controller: c, guard: lead.Guard(), id: id, started: time.Now(), queue: newQueue(),
		observers: map[string]*observer{},
		busy:      map[topology.MemberID]bool{},
		pauses:    map[topology.MemberID]pause{},
		ended:     map[topology.MemberID]time.Time{},
		absent:    map[topology.MemberID]time.Time{},
		minRev:    map[topology.ClusterID]store.Revision{},
	}
	defer r.queue.close()
	err = r.all(ctx)
	r.calls.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// all runs the goroutines of a reign until ctx ends or one of them fails.
func (r *run) all(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range r.Accounts {
		r.observers[a.Name] = newObserver(r, a)
	}
	for _, o := range r.observers {
		g.Go(func() error { return o.run(ctx) })
	}
	g.Go(func() error { return r.feed(ctx) })
	g.Go(func() error { return r.listen(ctx) })
	for range workers {
		g.Go(func() error { return r.work(ctx) })
	}
	return g.Wait()
}

// run is one reign of a controller.
type run struct {
	*Controller
	guard     store.Cond
	id        store.ID
	started   time.Time
	queue     *queue
	observers map[string]*observer
	calls     sync.WaitGroup // to clouds, in flight

	mu       sync.Mutex
	wasBlind bool
	busy     map[topology.MemberID]bool            // a call about it is in flight
	pauses   map[topology.MemberID]pause           // after a call that failed
	ended    map[topology.MemberID]time.Time       // when Terminate last succeeded
	absent   map[topology.MemberID]time.Time       // the first list without it
	minRev   map[topology.ClusterID]store.Revision // what the loop itself has written
}

// pause keeps calls about a member apart.
type pause struct {
	tries int
	until time.Time
}

// feed queues the clusters that changed.
func (r *run) feed(ctx context.Context) error {
	last := &topology.View{}
	for {
		v, err := r.Topology.Next(ctx, last.Rev)
		if err != nil {
			return err
		}
		for c := range v.Clusters() {
			if last.Cluster(c.Cluster.ID) != c {
				r.queue.add(c.Cluster.ID)
			}
		}
		last = v
	}
}

// listen queues the clusters in which an agent hung up.
func (r *run) listen(ctx context.Context) error {
	for {
		clusters, ok := r.heard.hangUps(ctx)
		if !ok {
			return nil
		}
		for _, id := range clusters {
			r.queue.add(id)
		}
	}
}

func (r *run) work(ctx context.Context) error {
	for {
		id, ok := r.queue.take(ctx)
		if !ok {
			return nil
		}
		err := r.reconcile(ctx, id)
		r.queue.done(id)
		var conflict *store.ConflictError
		var unknown *store.UnknownError
		var fenced *store.FencedError
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.As(err, &fenced):
			return err
		case errors.As(err, &conflict):
			r.queue.add(id) // somebody else wrote; the view will show it
		case errors.As(err, &unknown):
			r.queue.addAt(id, time.Now().Add(callRetry))
		default:
			r.log().Warn("cluster", "cluster", id, "err", err)
			r.queue.addAt(id, time.Now().Add(2*time.Second))
		}
	}
}

// reconcile looks at one cluster and acts. It is called for one cluster by one
// goroutine at a time.
func (r *run) reconcile(ctx context.Context, id topology.ClusterID) error {
	r.mu.Lock()
	after := r.minRev[id] - 1
	r.mu.Unlock()
	v, err := r.Topology.Next(ctx, max(after, 0)) // what this loop wrote is in the view
	if err != nil {
		return err
	}
	c := v.Cluster(id)
	if c == nil {
		return nil
	}
	p := decide(r.situation(v, c))
	if err := r.execute(ctx, v, c, &p); err != nil {
		return err
	}
	r.queue.addAt(id, p.lookAgain)
	for a := range p.observe {
		if o := r.observers[a]; o != nil {
			o.ask(id)
		}
	}
	return nil
}

func (r *run) situation(v *topology.View, c *topology.ClusterView) situation {
	now := time.Now()
	return situation{
		now: now, cluster: c, started: r.started,
		blind: sync.OnceValue(func() bool { return r.blind(v, now) }),
		heard: r.heard.of, seen: r.seen,
		idle: func(m topology.MemberID, rt topology.Runtime) bool {
			rec, ok := c.Member(m)
			return ok && r.Idle != nil && r.Idle(c.Cluster.ID, m, rt.Address(rec.Address))
		},
		timing: timing{
			heartbeat: r.heartbeat(), boot: r.boot(), grace: r.grace(), drain: r.drain(),
			tombstone: func(a string) time.Duration { return r.tombstoneFor(r.account(a)) },
		},
	}
}

// execute carries a plan out: first what frees, then what adds.
func (r *run) execute(ctx context.Context, v *topology.View, c *topology.ClusterView, p *plan) error {
	for _, m := range p.writes {
		if err := r.write(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range p.deletes {
		if err := r.remove(ctx, m); err != nil {
			return err
		}
	}
	places := r.places(v)
	for _, release := range p.launches {
		if err := r.create(ctx, c, release, places); err != nil {
			return err
		}
	}
	for _, m := range p.sends {
		p.again(r.call(ctx, m, r.send))
	}
	for _, m := range p.ends {
		p.again(r.call(ctx, m, r.end))
	}
	return nil
}

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
	return r.commit(ctx, m.Cluster, []store.Cond{rec.Unchanged()}, ops)
}

// remove deletes a tombstone.
func (r *run) remove(ctx context.Context, m topology.MemberRecord) error {
	key := topology.MemberKey(m.Cluster, m.ID)
	return r.commit(ctx, m.Cluster, []store.Cond{{Key: key, Rev: m.Mod}}, []store.Op{{Key: key, Delete: true}})
}

// commit writes as the leader, and remembers the revision, so that the next
// look at the cluster sees what was written.
func (r *run) commit(ctx context.Context, id topology.ClusterID, conds []store.Cond, ops []store.Op) error {
	rev, err := r.Store.Commit(ctx, store.Txn{If: append([]store.Cond{r.guard}, conds...), Then: ops})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.minRev[id] = max(r.minRev[id], rev)
	return nil
}

// call starts a call to a cloud about a member, unless one is in flight (its
// end queues the cluster) or it is too early: then it says when.
func (r *run) call(ctx context.Context, m topology.MemberRecord, do func(context.Context, topology.MemberRecord) error) (retry time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[m.ID] {
		return time.Time{}
	}
	if p := r.pauses[m.ID]; time.Now().Before(p.until) {
		return p.until
	}
	r.busy[m.ID] = true
	r.calls.Go(func() {
		err := do(ctx, m)
		if err != nil && ctx.Err() == nil {
			r.log().Warn("cloud", "cluster", m.Cluster, "member", m.ID, "err", err)
		}
		r.called(m, err)
	})
	return time.Time{}
}

// called ends a call: the next one about this member waits, longer after every failure.
func (r *run) called(m topology.MemberRecord, err error) {
	r.mu.Lock()
	delete(r.busy, m.ID)
	p := r.pauses[m.ID]
	p.tries++
	if err == nil {
		p.tries = 0
	}
	p.until = time.Now().Add(min(callRetry<<min(p.tries, 10), time.Minute) / 2)
	r.pauses[m.ID] = p
	r.mu.Unlock()
	r.queue.add(m.Cluster)
}

func (r *run) forget(m topology.MemberID) {
	r.heard.forget(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pauses, m)
	delete(r.ended, m)
	delete(r.absent, m)
}

// errNoPlace says that no partition takes another member.
var errNoPlace = errors.New("every partition of every account is at its limit")

func (r *run) create(ctx context.Context, c *topology.ClusterView, release topology.Release, places *places) error {
	account, partition, ok := places.take()
	if !ok {
		return fmt.Errorf("cluster %s: %w", c.Cluster.ID, errNoPlace)
	}
	now := time.Now()
	token, hash := newJoinToken()
	m, err := topology.Member{
		V: topology.Schema, ID: topology.NewMemberID(), Cluster: c.Cluster.ID, Created: now,
		Account: account, Partition: partition, Assigned: &release, JoinHash: hash,
	}.To(topology.Created, "wanted", now, now.Add(r.boot()))
	if err != nil {
		return err
	}
	in, err := r.renderIntent(r.id, m, token, c.Cluster.Size, 1)
	if err != nil {
		return err
	}
	member := store.NewRecord(topology.MemberKey(m.Cluster, m.ID), m)
	wish := store.NewRecord(intentKey(m.ID), in)
	mop, err := member.Put()
	if err != nil {
		return err
	}
	iop, err := wish.Put()
	if err != nil {
		return err
	}
	r.trace(BeforeS1, m.ID)
	conds := []store.Cond{
		{Key: topology.ClusterKey(m.Cluster), Rev: c.Mod()},
		{Key: topology.WantKey(m.Cluster), Rev: c.WantMod()},
		member.Unchanged(), wish.Unchanged(),
	}
	if err := r.commit(ctx, m.Cluster, conds, []store.Op{mop, iop}); err != nil {
		return err
	}
	r.trace(AfterS1, m.ID)
	r.log().Info("launching", "cluster", m.Cluster, "member", m.ID, "account", account, "release", release.Revision)
	return nil
}
