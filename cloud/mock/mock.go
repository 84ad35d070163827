// Package mock is a cloud in memory, for simulation and for scale: 100 000
// instances that cost no more than their records.
//
// It is not for tests of the real path: nothing runs in its instances. What
// they would do is told by [Cloud.Agent], which is called for every instance
// that has booted, and the load that they would carry is arithmetic: see
// [Cloud.Offer].
//
// Everything that it draws (boot times, failures, lost answers, list lag) comes
// from Seed, in the order of the calls: the same calls see the same cloud. Its
// only clock is time.Now, so that it lives in the virtual time of
// testing/synctest as well.
package mock

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
)

// Cloud is a cloud in memory. Its zero value is one that has no limits and
// makes no mistakes. The fields are set before the first call.
type Cloud struct {
	Seed uint64
	// Idempotency is what makes a repeated launch safe. Default [cloud.ByName].
	Idempotency cloud.Idempotency
	// Limits are how many instances a partition takes; one that is not named
	// has no limit.
	Limits map[string]int
	// Boot draws the time from a launch until the instance runs. Default: none.
	Boot func(*rand.Rand) time.Duration
	// Failing is the share of instances that end instead of running, 0 to 1.
	Failing float64
	// ListLag is how late, at most, a change shows in List. Each instance has
	// a lag of its own.
	ListLag time.Duration
	// Lost is the share of answers that get lost, 0 to 1: half of them before
	// the deed, half after it.
	Lost float64
	// Workers is how many requests an instance serves at the same time. Default 10.
	Workers int
	// Agent, if set, is called by [Cloud.Run] once for every instance that runs.
	Agent func(ctx context.Context, i cloud.Instance, userData []byte)

	mu        sync.Mutex
	rnd       *rand.Rand
	launches  int
	all       []*instance // in the order of their launch
	byID      map[cloud.InstanceID]*instance
	byKey     map[string]*instance
	partition map[string]int
	loads     map[string]Load
	changed   chan struct{} // capacity one: something was launched
}

// instance is what the cloud knows of one.
type instance struct {
	cloud.Instance
	spec  cloud.Spec
	key   string
	lag   time.Duration
	runs  time.Time
	fails bool
	ended time.Time // zero: it was not
	told  bool      // its agent was called
}

var (
	_ cloud.Driver  = (*Cloud)(nil)
	_ cloud.Capable = (*Cloud)(nil)
)

// errLost is all that a caller hears of a lost answer.
var errLost = errors.New("mock: the answer was lost")

// forgetAfter is for how long an ended instance answers to its name or token.
const forgetAfter = time.Hour

// Capabilities implements [cloud.Capable].
func (c *Cloud) Capabilities() cloud.Capabilities {
	kind := c.Idempotency
	if kind == "" {
		kind = cloud.ByName
	}
	return cloud.Capabilities{Idempotency: kind, ListLag: c.ListLag}
}

// Launch implements [cloud.Driver].
func (c *Cloud) Launch(ctx context.Context, s cloud.Spec) (cloud.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	if err := c.lose(ctx); err != nil {
		return cloud.Instance{}, err
	}
	i, err := c.launch(s, time.Now())
	if err != nil {
		return cloud.Instance{}, err
	}
	if err := c.lose(ctx); err != nil {
		return cloud.Instance{}, err
	}
	return i.answer(time.Now()), nil
}

// begin makes what the zero value lacks; c.mu is held.
func (c *Cloud) begin() {
	if c.rnd != nil {
		return
	}
	c.rnd = rand.New(rand.NewPCG(c.Seed, 1))
	c.byID, c.byKey = map[cloud.InstanceID]*instance{}, map[string]*instance{}
	c.partition, c.loads = map[string]int{}, map[string]Load{}
	c.changed = make(chan struct{}, 1)
}

// lose draws whether an answer gets lost; c.mu is held.
func (c *Cloud) lose(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Lost > 0 && c.rnd.Float64() < c.Lost/2 {
		return errLost
	}
	return nil
}

// launch finds the request's instance, or makes it; c.mu is held.
func (c *Cloud) launch(s cloud.Spec, now time.Time) (*instance, error) {
	key := ""
	switch c.Capabilities().Idempotency {
	case cloud.ByName:
		key = s.Name
	case cloud.ByToken:
		key = s.Token
	}
	if old := c.byKey[key]; key != "" && old != nil {
		if !reflect.DeepEqual(old.spec, s) {
			return nil, fmt.Errorf("%w: %q is the name or token of another request", cloud.ErrRejected, key)
		}
		return old, nil
	}
	if limit, ok := c.Limits[s.Partition]; ok && c.partition[s.Partition] >= limit {
		return nil, fmt.Errorf("%w: %q has its %d instances", cloud.ErrCapacity, s.Partition, limit)
	}
	return c.make(s, key, now), nil
}

// make adds an instance; c.mu is held.
func (c *Cloud) make(s cloud.Spec, key string, now time.Time) *instance {
	c.launches++
	n := c.launches
	s.Tags, s.UserData = maps.Clone(s.Tags), slices.Clone(s.UserData)
	i := &instance{
		spec: s, key: key, runs: now, fails: c.Failing > 0 && c.rnd.Float64() < c.Failing,
		Instance: cloud.Instance{
			ID: cloud.InstanceID(fmt.Sprintf("mock-%06d", n)), Name: s.Name, Partition: s.Partition,
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)}, Tags: s.Tags, Launched: now,
		},
	}
	if c.Boot != nil {
		i.runs = now.Add(max(c.Boot(c.rnd), 0))
	}
	if c.ListLag > 0 {
		i.lag = time.Duration(c.rnd.Int64N(int64(c.ListLag)))
	}
	c.all = append(c.all, i)
	c.byID[i.ID] = i
	if key != "" {
		c.byKey[key] = i
	}
	c.partition[s.Partition]++
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return i
}

// state is what has become of the instance by now.
func (i *instance) state(now time.Time) cloud.InstanceState {
	switch {
	case !i.ended.IsZero(), i.fails && !now.Before(i.runs):
		return cloud.Gone
	case now.Before(i.runs):
		return cloud.Pending
	}
	return cloud.Running
}

// answer is a copy of what the cloud knows, for the caller.
func (i *instance) answer(now time.Time) cloud.Instance {
	got := i.Instance
	got.State = i.state(now)
	got.Tags, got.Addresses = maps.Clone(i.Tags), slices.Clone(i.Addresses)
	return got
}

// Terminate implements [cloud.Driver].
func (c *Cloud) Terminate(ctx context.Context, id cloud.InstanceID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	if err := c.lose(ctx); err != nil {
		return err
	}
	c.end(id)
	return c.lose(ctx)
}

// Kill ends an instance behind the driver's back, as a power cut does.
func (c *Cloud) Kill(id cloud.InstanceID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	c.end(id)
}

// end ends an instance, if it is there; c.mu is held.
func (c *Cloud) end(id cloud.InstanceID) {
	if i := c.byID[id]; i != nil && i.ended.IsZero() {
		i.ended = time.Now()
		c.partition[i.Partition]--
	}
}

// List implements [cloud.Driver].
func (c *Cloud) List(ctx context.Context, owner cloud.Owner) ([]cloud.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	if err := c.lose(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	c.forget(now)
	all := make([]cloud.Instance, 0, len(c.all))
	for _, i := range c.all {
		switch {
		case i.Tags[cloud.TagOwner] != string(owner):
		case now.Before(i.Launched.Add(i.lag)):
		case !i.ended.IsZero() && !now.Before(i.ended.Add(i.lag)):
		case !i.ended.IsZero(): // the list does not know yet
			late := i.answer(now)
			late.State = cloud.Running
			all = append(all, late)
		default:
			all = append(all, i.answer(now))
		}
	}
	if err := c.lose(ctx); err != nil {
		return nil, err
	}
	return all, nil
}

// forget drops what ended long ago; c.mu is held.
func (c *Cloud) forget(now time.Time) {
	c.all = slices.DeleteFunc(c.all, func(i *instance) bool {
		if i.ended.IsZero() || now.Sub(i.ended) < forgetAfter {
			return false
		}
		delete(c.byID, i.ID)
		if c.byKey[i.key] == i {
			delete(c.byKey, i.key)
		}
		return true
	})
}
