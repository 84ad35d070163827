package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/topology"
)

// listing is what an account's cloud said at one time.
type listing struct {
	at       time.Time // when it was asked
	byID     map[cloud.InstanceID]cloud.Instance
	byMember map[topology.MemberID][]cloud.Instance
}

// observer lists one account's instances: when somebody asks, and for every sweep.
type observer struct {
	reign   *run
	account *cloud.Account
	sweeper sweeper
	asked   chan struct{} // capacity one

	mu      sync.Mutex
	list    *listing
	waiting map[topology.ClusterID]bool
}

// The pause between two lists of an account: listEvery at least, and longer
// after one that took long, so that listing takes a fifth of the time at most.
const (
	listEvery = 100 * time.Millisecond
	listShare = 4
)

func newObserver(r *run, a *cloud.Account) *observer {
	return &observer{reign: r, account: a, asked: make(chan struct{}, 1), waiting: map[topology.ClusterID]bool{}}
}

// ask wants a fresh list; the cluster is looked at again when it is there.
func (o *observer) ask(id topology.ClusterID) {
	o.mu.Lock()
	o.waiting[id] = true
	o.mu.Unlock()
	select {
	case o.asked <- struct{}{}:
	default:
	}
}

func (o *observer) latest() *listing {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list
}

// run lists until ctx ends. The first list is made at once: it shows what
// happened to the instances while nobody looked.
func (o *observer) run(ctx context.Context) error {
	sweep := time.NewTicker(o.reign.sweepEvery())
	defer sweep.Stop()
	pauseFor := listEvery
	for sweeping := true; ; {
		began := time.Now()
		if err := o.observe(ctx, sweeping); err != nil && ctx.Err() == nil {
			o.reign.log().Warn("cloud", "account", o.account.Name, "err", err)
			pauseFor = min(2*pauseFor, 30*time.Second)
			o.again()
		} else {
			pauseFor = max(listEvery, listShare*time.Since(began))
		}
		select {
		case <-time.After(pauseFor):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-o.asked:
			sweeping = false
		case <-sweep.C:
			sweeping = true
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *observer) again() {
	select {
	case o.asked <- struct{}{}:
	default:
	}
}

// observe lists the account once and wakes the clusters that wait for it.
func (o *observer) observe(ctx context.Context, sweeping bool) error {
	o.mu.Lock()
	waiting := o.waiting
	o.waiting = map[topology.ClusterID]bool{}
	o.mu.Unlock()
	at := o.reign.clock.now()
	all, err := o.account.List(ctx, cloud.Owner(o.reign.id.UUID))
	if err != nil {
		o.mu.Lock()
		for id := range waiting {
			o.waiting[id] = true
		}
		o.mu.Unlock()
		return err
	}
	l := &listing{at: at, byID: map[cloud.InstanceID]cloud.Instance{}, byMember: map[topology.MemberID][]cloud.Instance{}}
	for _, i := range all {
		l.byID[i.ID] = i
		m := topology.MemberID(i.Tags[cloud.TagMember])
		l.byMember[m] = append(l.byMember[m], i)
	}
	o.mu.Lock()
	o.list = l
	o.mu.Unlock()
	if sweeping {
		if err := o.sweep(ctx, l, waiting); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		o.reign.queue.add(id)
	}
	return nil
}

// seen says what the cloud's latest list tells about a member. Gone needs two
// lists without the instance, more than the list lag apart (a fresh id may be
// unknown for a while), or one that shows it ended; a Terminating member's must
// also have been told to end since.
func (r *run) seen(m topology.MemberRecord) sighting {
	o := r.observers[m.Account]
	if o == nil || m.Instance == "" {
		return sighting{}
	}
	l := o.latest()
	if l == nil || !l.at.After(m.Since) {
		return sighting{}
	}
	inst, there := l.byID[cloud.InstanceID(m.Instance)]
	s := sighting{}
	if len(inst.Addresses) > 0 {
		s.address = inst.Addresses[0]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if there && inst.State != cloud.Gone {
		delete(r.absent, m.ID)
		return s
	}
	first, ok := r.absent[m.ID]
	if !ok {
		first = l.at
		r.absent[m.ID] = first
	}
	s.missing = true
	twice := l.at.Sub(first) > o.account.Capabilities().ListLag
	if m.State == topology.Terminating {
		s.gone = twice && r.ended[m.ID].After(first)
	} else {
		s.gone = twice || there
	}
	return s
}
