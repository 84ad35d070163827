package autoscale_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

const shop = topology.ClusterID("acme.shop")

// policyFunc is a policy for tests.
type policyFunc func(o *autoscale.Observation) (autoscale.Recommendation, error)

func (f policyFunc) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	return f(o)
}

// sized always recommends the same.
func sized(n int) policyFunc {
	return func(*autoscale.Observation) (autoscale.Recommendation, error) {
		return autoscale.Recommendation{Size: n, Reason: "so it was told"}, nil
	}
}

// whole is a source that reads the store anew for every view.
type whole struct{ store store.Store }

func (w whole) Next(ctx context.Context, _ store.Revision) (*topology.View, error) {
	page, err := w.store.List(ctx, "", store.ReadOptions{})
	if err != nil {
		return nil, err
	}
	events := make([]store.Event, len(page.KVs))
	for i, kv := range page.KVs {
		events[i] = store.Event{KV: kv}
	}
	return (&topology.View{}).With(page.Rev, events)
}

// frozen is a source that is stuck at one view.
type frozen struct{ view *topology.View }

func (f frozen) Next(context.Context, store.Revision) (*topology.View, error) { return f.view, nil }

// platform is a store with a leader and a scaler.
type platform struct {
	*testing.T
	store  *mem.Store
	lead   *store.Leadership
	scaler *autoscale.Scaler
	log    *bytes.Buffer
}

func newPlatform(t *testing.T, policies map[string]autoscale.Policy) *platform {
	p := &platform{T: t, store: mem.New(), log: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	p.lead = p.campaign(ctx)
	p.scaler = &autoscale.Scaler{
		Store: p.store, Topology: whole{p.store}, Recorder: &autoscale.Recorder{},
		Policies: policies, Log: slog.New(slog.NewTextHandler(p.log, nil)),
	}
	t.Cleanup(func() {
		cancel()
		require.NoError(t, p.store.Close())
	})
	return p
}

func (p *platform) campaign(ctx context.Context) *store.Leadership {
	lead, err := store.Campaign(ctx, p.store, "control", "replica", time.Minute)
	require.NoError(p, err)
	return lead
}

func put[T any](p *platform, key string, value T) {
	op, err := store.NewRecord(key, value).Put()
	require.NoError(p, err)
	_, err = p.store.Commit(p.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(p, err)
}

// cluster writes the record of a cluster.
func (p *platform) cluster(c topology.Cluster) {
	put(p, topology.ClusterKey(c.ID), c)
}

// members sets the states of the shop's members.
func (p *platform) members(states ...topology.State) {
	for i, s := range states {
		id := topology.MemberID(fmt.Sprint("m", i))
		put(p, topology.MemberKey(shop, id), topology.Member{ID: id, Cluster: shop, State: s})
	}
}

// load reports a constant number in flight until and including interval n.
func (p *platform) load(from, to int, inFlight float64) {
	for i := from; i <= to; i++ {
		require.NoError(p, p.scaler.Recorder.RecordAt(traffic("balancer", uint64(i+1), inFlight), after(i)))
	}
}

func (p *platform) tick(n int) autoscale.Decision {
	require.NoError(p, p.scaler.Tick(p.Context(), p.lead, after(n)))
	d, _ := p.scaler.Latest(shop)
	return d
}

// want returns the recorded want and its revision; -1 if there is none.
func (p *platform) want() (int, store.Revision) {
	r, err := store.Read[topology.Want](p.Context(), p.store, topology.WantKey(shop))
	if errors.Is(err, store.ErrNotFound) {
		return -1, 0
	}
	require.NoError(p, err)
	return r.Value.Size, r.Mod
}

func TestScalerFirstWant(t *testing.T) {
	tests := []struct {
		name     string
		min, max int
		members  []topology.State
		want     int
	}{
		{"new cluster", 2, 5, nil, 2},
		{"min 0", 0, 5, nil, 0},
		{"members that are there are kept", 1, 5, []topology.State{topology.Active, topology.Created, topology.Suspended}, 3},
		{"those that go do not count", 1, 5, []topology.State{topology.Active, topology.InMaintenance, topology.Terminating, topology.Terminated}, 1},
		{"never above the maximum", 1, 2, []topology.State{topology.Active, topology.Active, topology.Active}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlatform(t, nil)
			p.cluster(topology.Cluster{ID: shop, Min: tt.min, Max: tt.max})
			p.members(tt.members...)
			d := p.tick(0)
			got, _ := p.want()
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.want, d.Want)
			require.Contains(t, d.Reason, "not enough data")
		})
	}
}

func TestScalerFollowsThePolicy(t *testing.T) {
	p := newPlatform(t, nil)
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	p.members(topology.Active, topology.Starting)
	p.load(0, 2, 31)
	d := p.tick(2)
	require.Equal(t, autoscale.Decision{
		Cluster: shop, At: after(2), InFlight: 31, Supply: 2, Before: 2, Want: 5,
		Reason: "31 in flight on average over 3 samples, 2 members carry 14: 5 needed",
	}, d)
	r, err := store.Read[topology.Want](t.Context(), p.store, topology.WantKey(shop))
	require.NoError(t, err)
	require.Equal(t, topology.Want{V: topology.Schema, Cluster: shop, Size: 5, Reason: d.Reason, At: after(2)}, r.Value)
	require.Contains(t, p.log.String(), "before=2 want=5")
}

func TestScalerWritesOnlyChanges(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	p.tick(0)
	_, before, err := p.store.Get(t.Context(), topology.WantKey(shop), store.ReadOptions{})
	require.NoError(t, err)
	for i := range 150 {
		p.tick(i + 1)
	}
	_, now, err := p.store.Get(t.Context(), topology.WantKey(shop), store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, before, now, "nothing at all was committed")
	all := p.scaler.Decisions(shop)
	require.Len(t, all, 100)
	require.Equal(t, after(51), all[0].At)
	require.Equal(t, after(150), all[99].At)
}

func TestScalerHolds(t *testing.T) {
	tests := []struct {
		name   string
		policy autoscale.Policy
		reason string
		logged int
	}{
		{"no data", policyFunc(func(*autoscale.Observation) (autoscale.Recommendation, error) {
			return autoscale.Recommendation{Size: 9}, fmt.Errorf("%w: nothing heard", autoscale.ErrNoData)
		}), "held at 4: not enough data to decide: nothing heard", 0},
		{"policy fails", policyFunc(func(*autoscale.Observation) (autoscale.Recommendation, error) {
			return autoscale.Recommendation{}, errors.New("broken")
		}), "held at 4: broken", 1},
		{"policy is missing", nil, `held at 4: no policy is called "mine"`, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlatform(t, map[string]autoscale.Policy{"mine": tt.policy})
			p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10, Policy: "mine"})
			put(p, topology.WantKey(shop), topology.Want{Cluster: shop, Size: 4})
			for i := range 5 {
				d := p.tick(i)
				require.Equal(t, 4, d.Want)
				require.Equal(t, tt.reason, d.Reason)
				require.Equal(t, "mine", d.Policy)
			}
			got, _ := p.want()
			require.Equal(t, 4, got)
			require.Equal(t, tt.logged, strings.Count(p.log.String(), "size held"), p.log.String())
		})
	}
}

func TestScalerKeepsToTheBounds(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(50)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	d := p.tick(0)
	require.Equal(t, 10, d.Want)
	require.Equal(t, "so it was told, 50 is out of 1 to 10", d.Reason)
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 7, Policy: "none such"})
	d = p.tick(1)
	require.Equal(t, []int{10, 7}, []int{d.Before, d.Want}, "new bounds hold without a policy, too")
	p.cluster(topology.Cluster{ID: shop, Min: 8, Max: 9, Policy: "none such"})
	require.Equal(t, 8, p.tick(2).Want)
	got, _ := p.want()
	require.Equal(t, 8, got)
}

func TestScalerSkipsClustersThatGo(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10, Removed: true})
	p.members(topology.Active)
	p.load(0, 0, 1)
	p.tick(0)
	got, _ := p.want()
	require.Equal(t, -1, got)
	require.Empty(t, p.scaler.Decisions(shop))
	samples, _ := p.scaler.Recorder.Observe(shop, after(0), every)
	require.Empty(t, samples, "its signals are forgotten")
}

func TestScalerDoesNotReviveACluster(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	view, err := whole{p.store}.Next(t.Context(), 0)
	require.NoError(t, err)
	p.scaler.Topology = frozen{view}
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10, Removed: true})
	d := p.tick(0)
	require.Contains(t, d.Reason, "not recorded")
	got, _ := p.want()
	require.Equal(t, -1, got)
}

func TestScalerRemembersWhatTheViewDoesNotShowYet(t *testing.T) {
	size := 3
	p := newPlatform(t, map[string]autoscale.Policy{"": policyFunc(func(*autoscale.Observation) (autoscale.Recommendation, error) {
		return autoscale.Recommendation{Size: size}, nil
	})})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	view, err := whole{p.store}.Next(t.Context(), 0)
	require.NoError(t, err)
	p.scaler.Topology = frozen{view}
	p.tick(0)
	size = 5
	d := p.tick(1)
	require.Equal(t, []int{3, 5}, []int{d.Before, d.Want})
	got, _ := p.want()
	require.Equal(t, 5, got)
}

func TestScalerLeavesAWantThatIsThere(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	view, err := whole{p.store}.Next(t.Context(), 0)
	require.NoError(t, err)
	p.scaler.Topology = frozen{view}
	put(p, topology.WantKey(shop), topology.Want{Cluster: shop, Size: 3, Reason: "before"})
	_, before := p.want()
	p.tick(0)
	_, now := p.want()
	require.Equal(t, before, now)
}

// asked is a source that remembers what it was asked for.
type asked struct {
	topology.Source
	after store.Revision
}

func (a *asked) Next(ctx context.Context, after store.Revision) (*topology.View, error) {
	a.after = after
	return a.Source.Next(ctx, after)
}

func TestScalerWaitsForAViewOfItsLeadership(t *testing.T) {
	p := newPlatform(t, nil)
	source := &asked{Source: p.scaler.Topology}
	p.scaler.Topology = source
	p.tick(0)
	require.Equal(t, p.lead.Epoch(), source.after+1, "an older view may lack the last leader's wants")
}

// meddled is a store in which somebody writes a want between a read and the commit.
type meddled struct {
	store.Store
	p *platform
}

func (m meddled) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	put(m.p, topology.WantKey(shop), topology.Want{Cluster: shop, Size: 8})
	return m.Store.Commit(ctx, t)
}

func TestScalerOverwritesNothingUnseen(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	p.scaler.Store = meddled{p.store, p}
	d := p.tick(0)
	require.Contains(t, d.Reason, "not recorded: wants/acme.shop: conflict")
	require.Equal(t, d.Before, d.Want)
	got, _ := p.want()
	require.Equal(t, 8, got)
	p.scaler.Store = p.store
	require.Equal(t, 3, p.tick(1).Want, "the next round has a newer view")
}

func TestScalerGoesOnAfterAnErrorOfTheStore(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	for _, c := range []topology.ClusterID{"acme.a", "acme.b", shop} {
		p.cluster(topology.Cluster{ID: c, Min: 1, Max: 10})
	}
	p.scaler.Store = full{p.store}
	err := p.scaler.Tick(t.Context(), p.lead, start)
	require.ErrorIs(t, err, store.ErrFull)
	require.ErrorContains(t, err, "3 clusters kept their sizes")
	p.scaler.Store = p.store
	require.Equal(t, 3, p.tick(1).Want)
}

// full is a store without space.
type full struct{ store.Store }

func (full) Commit(context.Context, store.Txn) (store.Revision, error) { return 0, store.ErrFull }

func TestScalerKeepsUnknownFields(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	_, err := p.store.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: topology.WantKey(shop), Value: []byte(`{"size":1,"newer":"field"}`)}}})
	require.NoError(t, err)
	p.tick(0)
	kv, _, err := p.store.Get(t.Context(), topology.WantKey(shop), store.ReadOptions{})
	require.NoError(t, err)
	require.Contains(t, string(kv.Value), `"newer":"field"`)
	require.Contains(t, string(kv.Value), `"size":3`)
}

func TestScalerIsFenced(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"": sized(3)})
	p.cluster(topology.Cluster{ID: shop, Min: 1, Max: 10})
	p.campaign(p.lead.Context()) // takes over: the id is the same
	var fenced *store.FencedError
	require.ErrorAs(t, p.scaler.Tick(t.Context(), p.lead, start), &fenced)
	require.ErrorAs(t, p.scaler.Run(t.Context(), p.lead), &fenced)
	got, _ := p.want()
	require.Equal(t, -1, got)
}

// counting learns how often it was asked.
type counting struct{ size int }

func (c counting) Recommend(*autoscale.Observation) (autoscale.Recommendation, error) {
	return autoscale.Recommendation{}, errors.New("a learner's memory decides, not the learner")
}
func (c counting) Learn() autoscale.Memory { return &counted{size: c.size} }

type counted struct{ size int }

func (c *counted) Recommend(*autoscale.Observation) (autoscale.Recommendation, error) {
	c.size++
	return autoscale.Recommendation{Size: c.size}, nil
}
func (c *counted) MarshalBinary() ([]byte, error)    { return nil, nil }
func (c *counted) UnmarshalBinary(data []byte) error { return nil }

func TestScalerGivesEachClusterItsMemory(t *testing.T) {
	p := newPlatform(t, map[string]autoscale.Policy{"a": counting{0}, "b": counting{5}})
	p.cluster(topology.Cluster{ID: shop, Min: 0, Max: 100, Policy: "a"})
	require.Equal(t, []int{1, 2, 3}, []int{p.tick(0).Want, p.tick(1).Want, p.tick(2).Want})
	p.cluster(topology.Cluster{ID: "acme.other", Min: 0, Max: 100, Policy: "a"})
	require.Equal(t, 4, p.tick(3).Want)
	other, ok := p.scaler.Latest("acme.other")
	require.True(t, ok)
	require.Equal(t, 1, other.Want)
	p.cluster(topology.Cluster{ID: shop, Min: 0, Max: 100, Policy: "b"})
	require.Equal(t, 6, p.tick(4).Want)
	p.cluster(topology.Cluster{ID: shop, Min: 0, Max: 100, Policy: "a"})
	require.Equal(t, 1, p.tick(5).Want, "begins anew")
}

func TestScalerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, nil)
		mirror := &topology.Mirror{Store: p.store}
		p.scaler.Topology = mirror
		p.cluster(topology.Cluster{ID: shop, Min: 0, Max: 5})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- mirror.Run(ctx) }()
		go func() { ended <- p.scaler.Run(ctx, p.lead) }()
		synctest.Wait()
		got, _ := p.want()
		require.Equal(t, 0, got, "the first round is at once")

		began := time.Now()
		queued := traffic("balancer", 1, 0)
		queued.Queue, queued.QueueSeconds = 3, 1
		require.NoError(t, p.scaler.Recorder.Record(queued))
		synctest.Wait()
		got, _ = p.want()
		require.Equal(t, 1, got, "somebody waits: no interval passes")
		require.Equal(t, began, time.Now())
		d, _ := p.scaler.Latest(shop)
		require.Contains(t, d.Reason, "queued and no members")

		p.cluster(topology.Cluster{ID: shop, Min: 2, Max: 5})
		synctest.Wait()
		got, _ = p.want()
		require.Equal(t, 1, got)
		<-time.After(5 * time.Second) // the bubble's clock
		synctest.Wait()
		got, _ = p.want()
		require.Equal(t, 2, got, "a round is every interval")

		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
}

func TestScalerEndsWithTheLeadership(t *testing.T) {
	p := newPlatform(t, nil)
	ended := make(chan error, 1)
	go func() { ended <- p.scaler.Run(t.Context(), p.lead) }()
	require.NoError(t, p.lead.Resign(t.Context()))
	require.NoError(t, <-ended)
}

func TestScalerEndsWithTheStore(t *testing.T) {
	p := newPlatform(t, nil)
	require.NoError(t, p.store.Close())
	require.ErrorIs(t, p.scaler.Tick(t.Context(), p.lead, start), store.ErrClosed)
	if err := p.scaler.Run(t.Context(), p.lead); err != nil { // nil if the lease's end was seen first
		require.ErrorIs(t, err, store.ErrClosed)
	}
}
