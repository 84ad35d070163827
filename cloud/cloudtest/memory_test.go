package cloudtest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/cloudtest"
)

// datacentre is the cloud itself: what survives the driver.
type datacentre struct {
	mu        sync.Mutex
	instances map[cloud.InstanceID]*machine
	next      int
}

type machine struct {
	cloud.Instance
	spec cloud.Spec
}

// memory is the reference driver: it keeps all promises, unless it is broken.
type memory struct {
	dc     *datacentre
	kind   cloud.Idempotency
	broken string
	meet   chan struct{} // of the mutation "launch looks, then acts"
}

var (
	_ cloud.Driver  = (*memory)(nil)
	_ cloud.Capable = (*memory)(nil)
)

func (m *memory) Capabilities() cloud.Capabilities { return cloud.Capabilities{Idempotency: m.kind} }

// is reports whether the driver is broken in this way.
func (m *memory) is(mutation string) bool { return m.broken == mutation }

func (m *memory) Launch(ctx context.Context, s cloud.Spec) (cloud.Instance, error) {
	if m.is("a broken-off launch says surely not") && ctx.Err() != nil {
		return cloud.Instance{}, fmt.Errorf("%w: %w", cloud.ErrCapacity, ctx.Err())
	}
	if m.is("launch looks, then acts") {
		return m.lookThenAct(s), nil
	}
	m.dc.mu.Lock()
	defer m.dc.mu.Unlock()
	if old := m.find(s); old != nil && !m.is("a repeated launch makes another") {
		switch {
		case m.is("a repeated launch returns another id"):
			return cloud.Instance{ID: old.ID + "-again", Name: old.Name}, nil
		case reflect.DeepEqual(old.spec, s), m.is("another request gets the first instance"):
			return m.answer(old), nil
		case m.is("another request replaces the instance"):
			delete(m.dc.instances, old.ID)
			m.make(s)
			return cloud.Instance{}, cloud.ErrRejected
		case m.is("another request is refused without a sentinel"):
			return cloud.Instance{}, errors.New("conflict")
		}
		return cloud.Instance{}, cloud.ErrRejected
	}
	if m.is("a lost answer loses the token") && ctx.Err() != nil {
		s.Name, s.Token = s.Name+"-lost", s.Token+"lost"
	}
	i := m.answer(m.make(s))
	return i, ctx.Err() // launched, but the answer is lost
}

// find returns the instance of the request's name or token.
func (m *memory) find(s cloud.Spec) *machine {
	for _, old := range m.dc.instances {
		if m.kind == cloud.ByName && old.Name == s.Name || m.kind == cloud.ByToken && old.spec.Token == s.Token {
			return old
		}
	}
	return nil
}

func (m *memory) make(s cloud.Spec) *machine {
	kept := s
	if !m.is("the caller's map is kept") {
		kept.Tags = maps.Clone(s.Tags)
	}
	if m.is("the name is changed") {
		s.Name = "i-" + s.Name
	}
	if m.is("the partition is lost") {
		s.Partition = ""
	}
	m.dc.next++
	i := &machine{spec: kept, Instance: cloud.Instance{
		ID: cloud.InstanceID(fmt.Sprint("m", m.dc.next)), Name: s.Name, State: cloud.Running, Partition: s.Partition,
		Addresses: []string{"192.0.2.1"}, Tags: kept.Tags, Launched: time.Now(),
	}}
	if m.is("no address") {
		i.Addresses = nil
	}
	if m.is("nothing starts") {
		i.State = cloud.Gone
	}
	m.dc.instances[i.ID] = i
	return i
}

func (m *memory) lookThenAct(s cloud.Spec) cloud.Instance {
	m.dc.mu.Lock()
	old := m.find(s)
	m.dc.mu.Unlock()
	if old == nil {
		select { // until a second caller has looked, too
		case m.meet <- struct{}{}:
		case <-m.meet:
		case <-time.After(time.Second):
		}
	}
	m.dc.mu.Lock()
	defer m.dc.mu.Unlock()
	if old == nil {
		old = m.make(s)
	}
	return m.answer(old)
}

// answer is a copy of what the cloud knows.
func (m *memory) answer(i *machine) cloud.Instance {
	got := i.Instance
	if !m.is("the driver's own map is given away") {
		got.Tags = maps.Clone(i.Tags)
	}
	if !m.is("the driver's own slice is given away") {
		got.Addresses = slices.Clone(i.Addresses)
	}
	if m.is("launch answers without tags") {
		got.Tags = nil
	}
	if m.is("the launch time is now") {
		got.Launched = time.Now()
	}
	if m.is("no launch time") {
		got.Launched = time.Time{}
	}
	return got
}

func (m *memory) Terminate(_ context.Context, id cloud.InstanceID) error {
	m.dc.mu.Lock()
	defer m.dc.mu.Unlock()
	i, ok := m.dc.instances[id]
	switch {
	case m.is("terminate of what is gone is an error") && !ok:
		return cloud.ErrNotFound
	case m.is("terminate of what was killed is an error") && ok && i.State == cloud.Gone:
		return errors.New("the instance is stopped")
	case m.is("terminate does nothing"):
		return nil
	case m.is("terminate ends all of the owner's") && ok:
		maps.DeleteFunc(m.dc.instances, func(_ cloud.InstanceID, o *machine) bool {
			return o.Tags[cloud.TagOwner] == i.Tags[cloud.TagOwner]
		})
	}
	delete(m.dc.instances, id)
	return nil
}

func (m *memory) List(ctx context.Context, owner cloud.Owner) ([]cloud.Instance, error) {
	m.dc.mu.Lock()
	defer m.dc.mu.Unlock()
	all := []cloud.Instance{}
	for _, i := range m.dc.instances {
		if i.Tags[cloud.TagOwner] != string(owner) && !m.is("list does not look at the owner") {
			continue
		}
		got := m.answer(i)
		if m.is("list has no tags") {
			got.Tags = nil
		}
		if m.is("an odd tag is lost") {
			delete(got.Tags, "note")
		}
		if m.is("the dead are listed as running") {
			got.State = cloud.Running
		}
		all = append(all, got)
	}
	slices.SortFunc(all, func(a, b cloud.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return m.listed(ctx, owner, all)
}

// listed is the answer to List, unless it is broken.
func (m *memory) listed(ctx context.Context, owner cloud.Owner, all []cloud.Instance) ([]cloud.Instance, error) {
	switch {
	case m.is("a broken-off list is a part") && ctx.Err() != nil:
		return all[:len(all)/2], nil
	case m.is("list stops after a page"):
		return all[:min(len(all), 5)], nil
	case m.is("list repeats an instance") && len(all) > 0:
		return append(all, all[0]), nil
	case m.is("list of an unknown owner is an error") && len(all) == 0:
		return nil, cloud.ErrNotFound
	case m.is("no owner means all") && owner == "":
		for _, i := range m.dc.instances {
			all = append(all, m.answer(i))
		}
	}
	return all, ctx.Err()
}

// harness opens memory, broken or not.
func harness(kind cloud.Idempotency, broken string) cloudtest.Harness {
	dc := &datacentre{instances: map[cloud.InstanceID]*machine{}}
	opened := 0
	return cloudtest.Harness{
		Open: func(testing.TB) cloud.Driver {
			opened++
			if opened > 1 && broken == "a restart forgets" {
				dc.instances = map[cloud.InstanceID]*machine{}
			}
			if opened > 1 && broken == "a restart ends what runs" {
				for _, i := range dc.instances {
					i.State = cloud.Gone
				}
			}
			if opened > 1 && broken == "a restart forgets the tags" {
				for _, i := range dc.instances {
					i.Tags = map[string]string{cloud.TagOwner: i.Tags[cloud.TagOwner]}
				}
			}
			return &memory{dc: dc, kind: kind, broken: broken, meet: make(chan struct{})}
		},
		Kill: func(_ testing.TB, id cloud.InstanceID) {
			dc.mu.Lock()
			defer dc.mu.Unlock()
			dc.instances[id].State = cloud.Gone
		},
		Fill:   func(s *cloud.Spec) { s.Partition = "a" },
		Within: 30 * time.Second,
	}
}
