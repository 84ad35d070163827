package controller

import (
	"context"
	"errors"
	"slices"
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
	r := c.newRun(id, lead.Guard())
	defer r.queue.close()
	err = r.all(ctx)
	r.calls.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// newRun begins a reign: it knows nothing yet, and has heard of nobody.
func (c *Controller) newRun(id store.ID, guard store.Cond) *run {
	r := &run{
		Controller: c, guard: guard, id: id, started: c.clock.restart(), queue: newQueue(),
		ledger:    newLedger(),
		observers: map[string]*observer{},
		busy:      map[topology.MemberID]bool{},
		pauses:    map[topology.MemberID]pause{},
		sent:      map[topology.MemberID]time.Time{},
		doubted:   map[topology.MemberID]bool{},
		wavering:  map[topology.MemberID]bool{},
		ended:     map[topology.MemberID]time.Time{},
		absent:    map[topology.MemberID]time.Time{},
		minRev:    map[topology.ClusterID]store.Revision{},
		unsettled: map[topology.ClusterID]store.Txn{},
	}
	r.spawn = r.calls.Go
	c.heard.restart()
	c.losses.reset()
	c.orphans.reset()
	for _, a := range c.Accounts {
		r.observers[a.Name] = newObserver(r, a)
	}
	return r
}

// all runs the goroutines of a reign until ctx ends or one of them fails.
func (r *run) all(ctx context.Context) error {
	first, err := r.fed(ctx, &topology.View{})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range r.observers {
		g.Go(func() error { return o.run(ctx) })
	}
	g.Go(func() error { return r.feed(ctx, first) })
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
	ledger    *ledger
	sensor    sensor
	observers map[string]*observer
	calls     sync.WaitGroup // to clouds, in flight
	spawn     func(call func())

	mu        sync.Mutex
	busy      map[topology.MemberID]bool            // a call about it is in flight
	pauses    map[topology.MemberID]pause           // after a call that failed
	sent      map[topology.MemberID]time.Time       // when a launch last left, in this reign
	wavering  map[topology.MemberID]bool            // the write of its next attempt may still come
	doubted   map[topology.MemberID]bool            // refused, after a call whose outcome is unknown
	ended     map[topology.MemberID]time.Time       // when Terminate last succeeded
	absent    map[topology.MemberID]time.Time       // the first list without it
	minRev    map[topology.ClusterID]store.Revision // what the loop itself has written
	unsettled map[topology.ClusterID]store.Txn      // S1 of unknown outcome
	allowed   consent
	allowedAt time.Time
}

// feed queues the clusters that changed since a view.
func (r *run) feed(ctx context.Context, last *topology.View) (err error) {
	for {
		if last, err = r.fed(ctx, last); err != nil {
			return err
		}
	}
}

// fed waits for the view after last, books what changed and queues it. Its
// cost is that of the change. The first view of a reign has all that former
// leaders wrote: the guard is younger.
func (r *run) fed(ctx context.Context, last *topology.View) (*topology.View, error) {
	v, err := r.Topology.Next(ctx, max(last.Rev, r.guard.Rev-1))
	if err != nil {
		return last, err
	}
	changed := slices.Collect(v.Changed(last))
	for _, id := range changed {
		r.saw(id, v.Cluster(id))
	}
	for _, id := range changed {
		r.queue.add(id)
	}
	return v, nil
}

// saw books what a view shows of a cluster.
func (r *run) saw(id topology.ClusterID, c *topology.ClusterView) {
	if c == nil {
		r.ledger.lost(id)
		return
	}
	if r.ledger.knows(c) {
		return
	}
	members := c.Members()
	r.ledger.saw(c, members)
	for _, m := range members {
		if m.Reason == lostHealth && (m.State == topology.Terminating || m.State == topology.Terminated) {
			r.losses.remember(m.ID, m.Since)
		}
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
		if err := r.look(ctx, id); err != nil {
			return err
		}
	}
}
