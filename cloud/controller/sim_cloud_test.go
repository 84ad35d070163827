package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/topology"
)

// simCloud is a cloud that loses answers, refuses, does things late, and whose
// list lags behind.
type simCloud struct {
	sim   *sim
	kind  cloud.Idempotency
	lag   time.Duration
	full  bool
	all   []*simInstance
	byKey map[string]*simInstance // by token or name
}

// simInstance is an instance and its agent.
type simInstance struct {
	cloud.Instance
	spec   cloud.Spec
	shows  time.Time // in lists
	ended  time.Time
	hides  time.Time // from lists
	key    []byte
	joined bool
	seq    uint64
	mute   time.Time // its agent is not heard until then
	quit   bool      // its agent was told to stop
}

func (i *simInstance) cluster() topology.ClusterID {
	return topology.ClusterID(i.Tags[cloud.TagCluster])
}
func (i *simInstance) member() topology.MemberID { return topology.MemberID(i.Tags[cloud.TagMember]) }
func (i *simInstance) alive() bool               { return i.ended.IsZero() }

// simDriver is the cloud as one life sees it.
type simDriver struct{ life *life }

func (d *simDriver) Capabilities() cloud.Capabilities {
	return cloud.Capabilities{Idempotency: d.life.cloud.kind, ListLag: d.life.cloud.lag}
}

var errSimLost = errors.New("the answer was lost")

// sent is what happens to every call before it reaches the cloud.
func (d *simDriver) sent(what string) error {
	l := d.life
	l.giveWay()
	switch {
	case l.dead:
		return errSimDead
	case l.fault(.02):
		l.die("before " + what)
		return errSimDead
	case l.fault(.1):
		return errSimLost
	case l.fault(.05):
		return cloud.ErrThrottled
	}
	return nil
}

// answered is what happens to every answer.
func (d *simDriver) answered(what string) error {
	l := d.life
	switch {
	case l.fault(.02):
		l.die("after " + what)
		return errSimDead
	case l.fault(.15):
		return errSimLost
	}
	l.giveWay()
	if l.dead {
		return errSimDead
	}
	return nil
}

func (d *simDriver) Launch(_ context.Context, spec cloud.Spec) (cloud.Instance, error) {
	if err := d.sent("a launch"); err != nil {
		return cloud.Instance{}, err
	}
	l, c := d.life, d.life.cloud
	switch {
	case c.full || l.fault(.2):
		return cloud.Instance{}, []error{cloud.ErrCapacity, cloud.ErrQuota}[l.rnd.IntN(2)]
	case l.fault(.2): // it lands later, and its sender does not hear of it
		l.after(l.within(0, 9*time.Second), func() { c.land(spec) })
		return cloud.Instance{}, errSimLost
	}
	i, err := c.land(spec)
	if err != nil {
		return cloud.Instance{}, err
	}
	return i.answer(), d.answered("a launch")
}

// land makes the instance, or finds it.
func (c *simCloud) land(spec cloud.Spec) (*simInstance, error) {
	key := map[cloud.Idempotency]string{cloud.ByToken: spec.Token, cloud.ByName: spec.Name, cloud.ByTags: strconv.Itoa(len(c.all))}[c.kind]
	if old, ok := c.byKey[key]; ok {
		if string(old.spec.UserData) != string(spec.UserData) {
			c.sim.fail("the token of %s was used for another request", old.Name)
			return nil, cloud.ErrRejected
		}
		if c.kind == cloud.ByName && !old.alive() {
			return old, nil
		}
		return old, nil
	}
	s := c.sim
	i := &simInstance{spec: spec, key: fmt.Appendf(nil, "%032d", len(c.all)), shows: s.now.Add(s.within(0, c.lag)), Instance: cloud.Instance{
		ID: cloud.InstanceID(fmt.Sprintf("i-%d", len(c.all))), Name: spec.Name, State: cloud.Running, Partition: spec.Partition,
		Addresses: []string{"192.0.2.1"}, Tags: maps.Clone(spec.Tags), Launched: s.now,
	}}
	c.all = append(c.all, i)
	c.byKey[key] = i
	s.logf("%s lands: %s attempt %s", i.ID, i.member(), i.Tags[cloud.TagAttempt])
	s.checkLaunch(i)
	if !s.fault(.1) { // else it never boots
		s.after(s.within(0, 40*time.Second), func() { s.agent(i) })
	}
	return i, nil
}

func (i *simInstance) answer() cloud.Instance {
	got := i.Instance
	got.Tags = maps.Clone(i.Tags)
	return got
}

func (d *simDriver) Terminate(_ context.Context, id cloud.InstanceID) error {
	if err := d.sent("a termination"); err != nil {
		return err
	}
	for _, i := range d.life.cloud.all {
		if i.ID == id && i.alive() {
			d.life.checkEnd(i)
			d.life.cloud.end(i, fmt.Sprintf("terminated by %d", d.life.n))
		}
	}
	return d.answered("a termination")
}

// end stops an instance.
func (c *simCloud) end(i *simInstance, why string) {
	c.sim.logf("%s of %s ends: %s", i.ID, i.member(), why)
	i.ended = c.sim.now
	i.hides = c.sim.now.Add(c.sim.within(0, c.lag))
}

func (d *simDriver) List(context.Context, cloud.Owner) ([]cloud.Instance, error) {
	if d.life.chance(.2) { // page after page
		d.life.sleep(d.life.within(0, 9*time.Second))
	}
	if err := d.sent("a list"); err != nil {
		return nil, err
	}
	var all []cloud.Instance
	for _, i := range d.life.cloud.all {
		if d.life.now.Before(i.shows) || !i.alive() && !d.life.now.Before(i.hides) {
			continue
		}
		all = append(all, i.answer())
	}
	return all, d.answered("a list")
}
