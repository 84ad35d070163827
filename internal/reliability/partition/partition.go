// Package partition cuts a running platform apart: two control planes, an etcd
// and a bucket that they share, instances, and a balancer, each in a network
// namespace of its own, all over TLS, under load.
//
// It needs root, and the programs ip, git, python3, etcd and versitygw.
package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gostratos/stratos/topology"
)

// Options say how long the faults last, and where the report goes.
type Options struct {
	Dir   string        // for everything; made and left to the caller
	Cut   time.Duration // the leader alone. Default 1 min
	Away  time.Duration // the whole control plane. Default 1 min
	After time.Duration // looked on after the control plane's return. Default 30 s
	Log   io.Writer     // progress. Default: nowhere
}

// Result is what happened.
type Result struct {
	NewLeader   time.Duration // from the cut until another replica leads
	LeaseTTL    time.Duration // of the leadership: the target is LeaseTTL and 2 s
	Requests    int           // sent meanwhile
	Failed      []string      // those that failed, at most ten
	Relaunched  int           // members that were launched for none that was wished
	Killed      int           // members that served before and did not after
	Returned    bool          // the one that was cut off came back and follows
	LostBalance int           // requests that failed while the whole control plane was away
}

// leaseTTL is the platform's; it is not configurable.
const leaseTTL = 10 * time.Second

// Run builds the world, cuts the leader off, puts it back, kills the whole
// control plane, and starts it again. An error is a world that did not come up
// or heal; what the faults did is in the result.
func Run(ctx context.Context, o Options) (res Result, err error) {
	o.Cut, o.Away, o.After = cmp.Or(o.Cut, time.Minute), cmp.Or(o.Away, time.Minute), cmp.Or(o.After, 30*time.Second)
	if o.Log == nil {
		o.Log = io.Discard
	}
	w := &world{Options: o}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, w.words())
		}
		err = errors.Join(err, w.close())
	}()
	if err := w.build(ctx); err != nil {
		return res, err
	}
	before, err := w.serving(ctx, w.replicas[0], 2)
	if err != nil {
		return res, err
	}
	load := w.startLoad(ctx, 8)
	defer load.stop()
	res.LeaseTTL = leaseTTL
	if err := w.cutLeader(ctx, &res, before); err != nil {
		return res, err
	}
	cutRequests, cutFailed := load.counts()
	before, err = w.serving(ctx, w.replicas[0], 3)
	if err != nil {
		return res, err
	}
	if err := w.loseControl(ctx, &res, before); err != nil {
		return res, err
	}
	res.Requests, res.Failed = load.stop()
	_, all := load.counts()
	res.LostBalance = all - cutFailed
	w.logf("%d requests, %d of them while the leader was cut off", res.Requests, cutRequests)
	return res, nil
}

// cutLeader takes the leader off the network, and asks the other one to scale.
func (w *world) cutLeader(ctx context.Context, res *Result, before map[topology.MemberID]topology.Member) error {
	leader, other, err := w.leader(ctx)
	if err != nil {
		return err
	}
	w.logf("%s leads; it is cut off for %v", leader.name, w.Cut)
	if err := w.net.cut(leader.name); err != nil {
		return err
	}
	began := time.Now()
	if err := w.await(ctx, 5*leaseTTL, "another replica leads", func(ctx context.Context) bool { return w.leads(ctx, other) }); err != nil {
		return err
	}
	res.NewLeader = time.Since(began)
	w.logf("%s leads after %v", other.name, res.NewLeader.Round(time.Millisecond))
	// A launch in the middle: one member, once.
	if err := w.scale(ctx, other, 3, 3); err != nil {
		return err
	}
	if _, err := w.serving(ctx, other, 3); err != nil {
		return err
	}
	if err := sleep(ctx, w.Cut-time.Since(began)); err != nil {
		return err
	}
	if err := w.net.heal(leader.name); err != nil {
		return err
	}
	w.logf("%s is back", leader.name)
	err = w.await(ctx, time.Minute, "the one that was cut off follows", func(ctx context.Context) bool {
		s, err := w.leaderOf(ctx, leader)
		return err == nil && !s.Self && s.Leader == other.url
	})
	res.Returned = err == nil
	if err != nil {
		return err
	}
	return w.compare(ctx, other, res, before, 3)
}

// loseControl kills every control plane, and starts them again.
func (w *world) loseControl(ctx context.Context, res *Result, before map[topology.MemberID]topology.Member) error {
	w.logf("the whole control plane is killed for %v", w.Away)
	for _, r := range w.replicas {
		r.process.kill()
	}
	if err := sleep(ctx, w.Away); err != nil {
		return err
	}
	for _, r := range w.replicas {
		// What it starts with is what the operator wishes by now.
		if err := errors.Join(w.configure(r, controlURLs(), len(before)), w.startReplica(r)); err != nil {
			return err
		}
	}
	if _, _, err := w.leader(ctx); err != nil {
		return err
	}
	w.logf("it is back, and looked at for %v", w.After)
	if err := sleep(ctx, w.After); err != nil {
		return err
	}
	return w.compare(ctx, w.replicas[0], res, before, len(before))
}

// compare counts what became of the members that were there, and which are there for no reason.
func (w *world) compare(ctx context.Context, r *replica, res *Result, before map[topology.MemberID]topology.Member, want int) error {
	now, err := w.serving(ctx, r, want)
	if err != nil {
		return err
	}
	for id, m := range before {
		if n, ok := now[id]; !ok || n.Instance != m.Instance {
			res.Killed++
			w.logf("member %s is gone: it was %+v", id, m)
		}
	}
	instances, err := w.instances()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, m := range now {
		known[string(m.Instance)] = true
	}
	for _, i := range instances {
		if !known[i] {
			res.Relaunched++
			w.logf("instance %s is one too many; there are members %v", i, slices.Sorted(maps.Keys(known)))
		}
	}
	return nil
}

// sleep waits out a fault: how long it lasts is what is tried.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) logf(format string, args ...any) {
	fmt.Fprintf(w.Log, "partition: "+format+"\n", args...)
}
