package controller_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/topology"
)

// faultyCloud keeps instances in memory and fails as clouds do: it loses
// answers after the deed, refuses, and its list lags behind.
type faultyCloud struct {
	kind cloud.Idempotency
	lag  time.Duration
	rnd  *rand.Rand

	mu        sync.Mutex
	faults    float64 // the share of calls that go wrong
	full      bool
	instances map[cloud.InstanceID]*faultyInstance
	byToken   map[string]cloud.InstanceID
	launches  int
}

type faultyInstance struct {
	cloud.Instance
	spec  cloud.Spec
	key   ed25519.PrivateKey
	ended time.Time
	seq   uint64
	mute  bool // its agent cannot be heard
}

// ready makes what the zero value lacks.
func (f *faultyCloud) ready() *faultyCloud {
	f.instances, f.byToken = map[cloud.InstanceID]*faultyInstance{}, map[string]cloud.InstanceID{}
	if f.rnd == nil {
		f.rnd = rand.New(rand.NewPCG(1, 2))
	}
	return f
}

func (f *faultyCloud) Capabilities() cloud.Capabilities {
	return cloud.Capabilities{Idempotency: f.kind, ListLag: f.lag}
}

var errLost = errors.New("the answer was lost")

func (f *faultyCloud) Launch(ctx context.Context, s cloud.Spec) (cloud.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rnd.Float64() < f.faults/2 {
		return cloud.Instance{}, errLost // before the deed
	}
	if f.full {
		return cloud.Instance{}, cloud.ErrCapacity
	}
	key := s.Name
	if f.kind == cloud.ByToken {
		key = s.Token
	}
	id, known := f.byToken[key]
	if !known || f.kind == cloud.ByTags {
		f.launches++
		id = cloud.InstanceID(fmt.Sprintf("i-%d", f.launches))
		_, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			return cloud.Instance{}, err
		}
		f.instances[id] = &faultyInstance{key: priv, spec: s, Instance: cloud.Instance{
			ID: id, Name: s.Name, State: cloud.Running, Tags: s.Tags, Launched: time.Now(), Addresses: []string{"127.0.0.1"},
		}}
		f.byToken[key] = id
	}
	if f.rnd.Float64() < f.faults/2 {
		return cloud.Instance{}, errLost // after the deed
	}
	return f.instances[id].Instance, nil
}

func (f *faultyCloud) Terminate(ctx context.Context, id cloud.InstanceID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, ok := f.instances[id]; ok && i.ended.IsZero() {
		i.ended = time.Now()
	}
	if f.rnd.Float64() < f.faults {
		return errLost
	}
	return nil
}

func (f *faultyCloud) List(ctx context.Context, owner cloud.Owner) (all []cloud.Instance, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rnd.Float64() < f.faults {
		return nil, errLost
	}
	for _, i := range f.instances {
		if i.Tags[cloud.TagOwner] != string(owner) || time.Since(i.Launched) < f.lag || !i.ended.IsZero() && time.Since(i.ended) >= f.lag {
			continue
		}
		all = append(all, i.Instance)
	}
	return all, nil
}

// alive returns the instances that run, by member.
func (f *faultyCloud) alive() map[topology.MemberID][]cloud.InstanceID {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[topology.MemberID][]cloud.InstanceID{}
	for id, i := range f.instances {
		if i.ended.IsZero() {
			m := topology.MemberID(i.Tags[cloud.TagMember])
			all[m] = append(all[m], id)
		}
	}
	return all
}

// launched is how many instances there ever were.
func (f *faultyCloud) launched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.launches
}
