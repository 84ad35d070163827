package controller_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

const clusterID topology.ClusterID = "default.app"

var release = topology.Release{Revision: "r1", Archive: "a1", Plan: "p1"}

// bed is a controller with a store, a mirror, a cloud, and agents.
type bed struct {
	t       *testing.T
	ctx     context.Context
	store   store.Store
	mirror  *topology.Mirror
	cloud   *faultyCloud
	control *controller.Controller
}

func newBed(t *testing.T, ctx context.Context, f *faultyCloud) *bed {
	b := &bed{t: t, ctx: ctx, store: mem.New(), cloud: f.ready()}
	b.mirror = &topology.Mirror{Store: b.store}
	b.control = b.newController()
	return b
}

func (b *bed) newController() *controller.Controller {
	return &controller.Controller{
		Store: b.store, Topology: b.mirror,
		Accounts: []*cloud.Account{{Name: "here", Driver: b.cloud, CallTimeout: 10 * time.Second}},
		UserData: func(m topology.Member, token string) ([]byte, error) { return []byte(token), nil },
		Idle:     func(topology.ClusterID, topology.MemberID, string) bool { return true },
		Boot:     5 * time.Minute,
	}
}

// reign runs a controller until the function ends, and then stops it.
func (b *bed) reign(during func()) {
	ctx, stop := context.WithCancel(b.ctx)
	lead, err := store.Campaign(ctx, b.store, "control", "me", 10*time.Second)
	require.NoError(b.t, err)
	done := make(chan error, 1)
	go func() { done <- b.control.Run(ctx, lead) }()
	during()
	stop()
	require.NoError(b.t, <-done)
	require.NoError(b.t, lead.Resign(b.ctx))
}

func (b *bed) set(min, max, want int) {
	b.t.Helper()
	c := topology.Cluster{ID: clusterID, Min: min, Max: max, Current: &release}
	b.put(topology.ClusterKey(clusterID), c)
	b.put(topology.WantKey(clusterID), topology.Want{Cluster: clusterID, Size: want, Reason: "test"})
}

func (b *bed) put(key string, v any) {
	b.t.Helper()
	rec := store.NewRecord(key, v)
	op, err := rec.Put()
	require.NoError(b.t, err)
	_, err = b.store.Commit(b.ctx, store.Txn{Then: []store.Op{op}})
	require.NoError(b.t, err)
}

func (b *bed) members() map[topology.State][]topology.Member {
	b.t.Helper()
	recs, _, err := store.ReadAll[topology.Member](b.ctx, b.store, topology.MemberPrefix)
	require.NoError(b.t, err)
	all := map[topology.State][]topology.Member{}
	for _, r := range recs {
		all[r.Value.State] = append(all[r.Value.State], r.Value)
	}
	return all
}

// agents lets the agent of every instance that runs say once what it has to say.
func (b *bed) agents() {
	b.cloud.mu.Lock()
	all := []*faultyInstance{}
	for _, i := range b.cloud.instances {
		if i.ended.IsZero() && !i.mute {
			all = append(all, i)
		}
	}
	b.cloud.mu.Unlock()
	for _, i := range all {
		m := topology.MemberID(i.Tags[cloud.TagMember])
		_, err := b.control.Join(b.ctx, controller.Join{
			Cluster: clusterID, Member: m, Token: string(i.spec.UserData),
			PublicKey: i.key.Public().(ed25519.PublicKey), Instance: topology.InstanceID(i.ID),
		})
		if err != nil {
			continue
		}
		i.seq++
		err = b.control.Report(b.ctx, clusterID, m, controller.Report{
			Seq: i.seq, Ready: true, Serving: &topology.Runtime{Release: release, Ports: map[string]int{"http": 20000}},
		})
		if err != nil && !errors.Is(err, controller.ErrGone) {
			require.NoError(b.t, err)
		}
	}
}

// wait lets agents talk and virtual time pass until ok, or the deadline.
func (b *bed) wait(d time.Duration, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(d); !ok(); {
		require.True(b.t, time.Now().Before(end), "deadline passed; members: %s", b.describe())
		b.pass(250 * time.Millisecond)
	}
}

func (b *bed) pass(d time.Duration) {
	b.agents()
	<-time.After(d)
}

func (b *bed) describe() string {
	j, err := json.Marshal(b.members())
	require.NoError(b.t, err)
	return fmt.Sprintf("%s instances %v", j, b.cloud.alive())
}

// settled reports whether n members are Active, nobody else has an instance,
// and each has exactly the one that is recorded.
func (b *bed) settled(n int) bool {
	members, alive := b.members(), b.cloud.alive()
	ending := 0
	for s, ms := range members {
		if s != topology.Active && s != topology.Terminated {
			ending += len(ms)
		}
	}
	if len(members[topology.Active]) != n || ending > 0 || len(alive) != n {
		return false
	}
	for _, m := range members[topology.Active] {
		if !slices.Equal(alive[m.ID], []cloud.InstanceID{cloud.InstanceID(m.Instance)}) {
			return false
		}
	}
	return true
}

// inBubble runs a test in virtual time, with the mirror running.
func inBubble(t *testing.T, f *faultyCloud, test func(b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBed(t, ctx, f)
		done := make(chan error, 1)
		go func() { done <- b.mirror.Run(ctx) }()
		test(b)
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, b.store.Close())
	})
}

func TestUpAndDown(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 10, 1)
		b.reign(func() {
			b.wait(time.Minute, func() bool { return b.settled(1) })
			b.set(1, 10, 4)
			b.wait(time.Minute, func() bool { return b.settled(4) })
			require.Equal(b.t, 4, f.launched(), "exactly three more")
			b.set(1, 10, 2)
			b.wait(time.Minute, func() bool { return b.settled(2) })
			require.Equal(b.t, 4, f.launched())
		})
	})
}

func TestPendingMembersAreNotLaunchedAgain(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 10, 3)
		b.reign(func() {
			<-time.After(4 * time.Minute) // no agent joins: slower than any interval
			require.Equal(b.t, 3, f.launched())
			b.wait(time.Minute, func() bool { return b.settled(3) })
			require.Equal(b.t, 3, f.launched())
		})
	})
}

func TestMembersOutliveTheControllerAndAreAdopted(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 10, 3)
		b.reign(func() { b.wait(time.Minute, func() bool { return b.settled(3) }) })
		before := b.members()[topology.Active]
		b.control = b.newController()
		b.reign(func() {
			for range 100 {
				b.pass(time.Second)
			}
		})
		require.True(b.t, b.settled(3), b.describe())
		require.Equal(b.t, before, b.members()[topology.Active])
	})
}

func TestInstanceThatIsGoneIsReplaced(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(2, 2, 2)
		b.reign(func() {
			b.wait(time.Minute, func() bool { return b.settled(2) })
			victim := b.members()[topology.Active][0]
			f.mu.Lock()
			f.instances[cloud.InstanceID(victim.Instance)].ended = time.Now()
			f.mu.Unlock()
			b.control.HungUp(clusterID, victim.ID)
			b.wait(10*time.Second, func() bool { return b.settled(2) })
			require.Equal(b.t, 3, f.launched())
		})
	})
}

// mute keeps n agents from being heard, or lets all be heard again.
func (f *faultyCloud) mute(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		i.mute = n > 0
		n--
	}
}

func TestHalfOfFortySilentAtOnceAreNotReplaced(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(40, 40, 40)
		b.reign(func() {
			b.wait(2*time.Minute, func() bool { return b.settled(40) })
			f.mute(20)
			for range 600 {
				b.pass(time.Second)
			}
			require.Equal(b.t, 40, f.launched())
			require.Len(b.t, f.alive(), 40)
			f.mute(0)
			b.wait(time.Minute, func() bool { return b.settled(40) })
			require.Equal(b.t, 40, f.launched())
		})
	})
}

func TestOneOfThreeSilentIsReplacedAfterItsGrace(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(3, 3, 3)
		b.reign(func() {
			b.wait(time.Minute, func() bool { return b.settled(3) })
			f.mute(1)
			b.wait(3*time.Minute, func() bool { return f.launched() == 4 && b.settled(3) })
		})
	})
}

func TestFullCloudIsTriedThriceAndTheClusterBacksOff(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName, full: true}
	inBubble(t, f, func(b *bed) {
		b.set(1, 1, 1)
		b.reign(func() {
			b.wait(time.Minute, func() bool { return len(b.members()[topology.Terminated]) > 1 })
			require.Empty(b.t, b.cloud.alive())
			for _, m := range b.members()[topology.Terminated] {
				require.True(b.t, m.Failed)
				require.Contains(b.t, m.Reason, cloud.ErrCapacity.Error())
			}
			f.mu.Lock()
			f.full = false
			f.mu.Unlock()
			b.wait(time.Minute, func() bool { return b.settled(1) })
		})
	})
}

func TestOrphanIsSwept(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		id, err := b.store.ID(b.ctx)
		require.NoError(b.t, err)
		for _, gen := range []string{strconv.FormatInt(id.Generation, 10), "99"} {
			_, err = f.Launch(b.ctx, cloud.Spec{Name: "orphan" + gen, Tags: map[string]string{cloud.TagOwner: id.UUID, cloud.TagGen: gen, cloud.TagMember: "orphan" + gen}})
			require.NoError(b.t, err)
		}
		b.reign(func() {
			<-time.After(5 * time.Minute) // younger than its grace
			require.Len(b.t, f.alive(), 2)
			<-time.After(6 * time.Minute)
		})
		require.Len(b.t, f.alive(), 1, "the one of another generation is only reported")
		require.Contains(b.t, f.alive(), topology.MemberID("orphan99"))
	})
}

// brokenStore refuses every commit while it is broken.
type brokenStore struct {
	store.Store
	broken bool
}

func (s *brokenStore) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	if s.broken {
		return 0, store.ErrFull
	}
	return s.Store.Commit(ctx, t)
}

func TestReportThatCouldNotBeRecordedIsTakenWhenItIsRepeated(t *testing.T) {
	records := &brokenStore{Store: mem.New()}
	defer records.Close()
	c := &controller.Controller{Store: records}
	m := topology.Member{ID: "m", Cluster: clusterID, State: topology.Starting, Address: "127.0.0.1", Assigned: &release}
	rec := store.NewRecord(topology.MemberKey(clusterID, m.ID), m)
	op, err := rec.Put()
	require.NoError(t, err)
	_, err = records.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(t, err)
	state := func() topology.State {
		rec, err := store.Read[topology.Member](t.Context(), records, rec.Key)
		require.NoError(t, err)
		return rec.Value.State
	}
	ready := controller.Report{Seq: 7, Ready: true, Serving: &topology.Runtime{Release: release, Ports: map[string]int{"http": 20000}}}
	records.broken = true
	require.ErrorIs(t, c.Report(t.Context(), clusterID, m.ID, ready), store.ErrFull)
	records.broken = false
	require.NoError(t, c.Report(t.Context(), clusterID, m.ID, ready))
	require.Equal(t, topology.Active, state())
	late := controller.Report{Seq: 6, Reason: "starting"}
	require.NoError(t, c.Report(t.Context(), clusterID, m.ID, late))
	require.Equal(t, topology.Active, state(), "a late report changes nothing")
}

func TestFencedLeaderStops(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		lead, err := store.Campaign(b.ctx, b.store, "control", "me", 10*time.Second)
		require.NoError(b.t, err)
		_, err = b.store.Commit(b.ctx, store.Txn{Then: []store.Op{{Key: lead.Guard().Key, Delete: true}}})
		require.NoError(b.t, err)
		b.set(1, 1, 1)
		var fenced *store.FencedError
		require.ErrorAs(b.t, b.control.Run(b.ctx, lead), &fenced)
		require.Empty(b.t, f.alive())
		require.Empty(b.t, b.members())
		require.NoError(b.t, lead.Resign(b.ctx))
	})
}

func TestShutdownEndsEverything(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(3, 3, 3)
		b.reign(func() { b.wait(time.Minute, func() bool { return b.settled(3) }) })
		lead, err := store.Campaign(b.ctx, b.store, "control", "me", 10*time.Second)
		require.NoError(b.t, err)
		require.NoError(b.t, b.control.Shutdown(b.ctx, lead))
		require.NoError(b.t, lead.Resign(b.ctx))
		require.Empty(b.t, f.alive())
		require.Len(b.t, b.members()[topology.Terminating], 3)
		b.control = b.newController()
		b.reign(func() { b.wait(2*time.Minute, func() bool { return b.settled(3) }) })
		require.Equal(b.t, 6, f.launched())
	})
}

func TestIntentsHoldTheSecretAndRecordsOnlyItsHash(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 1, 1)
		b.reign(func() { b.wait(time.Minute, func() bool { return b.settled(1) }) })
		var token string
		for _, i := range f.instances {
			token = string(i.spec.UserData)
		}
		page, err := b.store.List(b.ctx, "", store.ReadOptions{})
		require.NoError(b.t, err)
		for _, kv := range page.KVs {
			if !strings.HasPrefix(kv.Key, "intents/") {
				require.NotContains(b.t, string(kv.Value), token, kv.Key)
			}
		}
	})
}
