package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/cloud/mock"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

// plane is a control plane with Active members on a mock cloud.
type plane struct {
	store  *mem.Store
	mirror *topology.Mirror
	cloud  *mock.Cloud
}

// newPlane records clusters of ten Active members each, whose instances run.
func newPlane(t testing.TB, clusters int) *plane {
	p := &plane{store: mem.New(), cloud: &mock.Cloud{}}
	t.Cleanup(func() { require.NoError(t, p.store.Close()) })
	p.mirror = &topology.Mirror{Store: p.store}
	id, err := p.store.ID(t.Context())
	require.NoError(t, err)
	release := topology.Release{Revision: "r1", Archive: "a1", Plan: "p1"}
	for n := range clusters {
		c := topology.ClusterID(fmt.Sprintf("tenant%d.app", n))
		ops := []store.Op{
			op(t, topology.ClusterKey(c), topology.Cluster{V: topology.Schema, ID: c, Max: 100_000, Current: &release}),
			op(t, topology.WantKey(c), topology.Want{V: topology.Schema, Cluster: c, Size: perCluster, Reason: "measured"}),
		}
		for range perCluster {
			m := topology.NewMemberID()
			i, err := p.cloud.Launch(t.Context(), cloud.Spec{Name: string(m), Tags: map[string]string{
				cloud.TagOwner: id.UUID, cloud.TagGen: strconv.FormatInt(id.Generation, 10), cloud.TagMember: string(m), cloud.TagCluster: string(c),
			}})
			require.NoError(t, err)
			ops = append(ops, op(t, topology.MemberKey(c, m), topology.Member{
				V: topology.Schema, ID: m, Cluster: c, State: topology.Active, Since: time.Now(), Created: time.Now(), Account: "mock",
				Instance: topology.InstanceID(i.ID), Address: i.Addresses[0], Assigned: &release, Ready: true,
				Serving: &topology.Runtime{Release: release, Ports: map[string]int{"http": 8080}},
			}))
		}
		_, err := p.store.Commit(t.Context(), store.Txn{Then: ops})
		require.NoError(t, err)
	}
	return p
}

func op(t testing.TB, key string, v any) store.Op {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return store.Op{Key: key, Value: b}
}

// controller is a new one, on the plane.
func (p *plane) controller() *controller.Controller {
	return &controller.Controller{
		Store: p.store, Topology: p.mirror,
		Accounts: []*cloud.Account{{Name: "mock", Driver: p.cloud, Rate: 1e9}},
		UserData: func(m topology.Member, token string) ([]byte, error) { return []byte(token), nil },
	}
}

// sizes are how many clusters are measured: STRATOS_BENCH_FULL=1 adds the largest.
func sizes() []int {
	if os.Getenv("STRATOS_BENCH_FULL") == "1" {
		return []int{100, 1000, 10_000}
	}
	return []int{100, 1000}
}

// BenchmarkPass measures a full reconcile pass: from the beginning of a reign,
// when every cluster is news, until the wants of all clusters, raised by one,
// have each made their member's intent, and its instance was launched.
func BenchmarkPass(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("clusters=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				p := newPlane(b, n)
				ctx, stop := context.WithCancel(b.Context())
				mirrored := make(chan error, 1)
				go func() { mirrored <- p.mirror.Run(ctx) }()
				lead, err := store.Campaign(ctx, p.store, "control", "bench", time.Hour)
				require.NoError(b, err)
				_, err = p.mirror.Next(ctx, lead.Guard().Rev-1)
				require.NoError(b, err)
				p.raise(b, n)
				ran := make(chan error, 1)
				b.StartTimer()
				start := time.Now()
				go func() { ran <- p.controller().Run(ctx, lead) }()
				launched := p.launched(b, ctx, n)
				b.StopTimer()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(launched.Sub(start).Microseconds())/float64(n), "us/cluster")
				b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MB-heap")
				stop()
				require.NoError(b, <-ran)
				require.NoError(b, <-mirrored)
				require.NoError(b, lead.Resign(context.Background()))
				b.StartTimer()
			}
		})
	}
}

// raise wants one member more in every cluster.
func (p *plane) raise(t testing.TB, clusters int) {
	for n := range clusters {
		c := topology.ClusterID(fmt.Sprintf("tenant%d.app", n))
		_, err := p.store.Commit(t.Context(), store.Txn{Then: []store.Op{
			op(t, topology.WantKey(c), topology.Want{V: topology.Schema, Cluster: c, Size: perCluster + 1, Reason: "measured"}),
		}})
		require.NoError(t, err)
	}
}

// launched waits until every cluster has one member more, with its instance.
func (p *plane) launched(t testing.TB, ctx context.Context, clusters int) time.Time {
	done := 0
	seen := map[topology.ClusterID]bool{}
	last, err := p.mirror.Next(ctx, 0)
	require.NoError(t, err)
	for id := range last.Changed(nil) {
		if last.Cluster(id).Count(topology.Initialized) == 1 {
			seen[id], done = true, done+1
		}
	}
	for done < clusters {
		v, err := p.mirror.Next(ctx, last.Rev)
		require.NoError(t, err)
		for id := range v.Changed(last) {
			if !seen[id] && v.Cluster(id).Count(topology.Initialized) == 1 {
				seen[id], done = true, done+1
			}
		}
		last = v
	}
	return time.Now()
}

// BenchmarkChange measures one changed want, until its member's instance is
// recorded, in a plane where nothing else happens.
func BenchmarkChange(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("clusters=%d", n), func(b *testing.B) {
			p := newPlane(b, n)
			ctx, stop := context.WithCancel(b.Context())
			mirrored, ran := make(chan error, 1), make(chan error, 1)
			go func() { mirrored <- p.mirror.Run(ctx) }()
			lead, err := store.Campaign(ctx, p.store, "control", "bench", time.Hour)
			require.NoError(b, err)
			go func() { ran <- p.controller().Run(ctx, lead) }()
			// The clusters are looked at in the order of their ids at first: once
			// the last one has its member, all have been.
			c := topology.ClusterID(fmt.Sprintf("tenant%d.app", n-1))
			size := perCluster + 1
			p.grow(b, ctx, c, size)
			for b.Loop() {
				size++
				p.grow(b, ctx, c, size)
			}
			b.StopTimer()
			stop()
			require.NoError(b, <-ran)
			require.NoError(b, <-mirrored)
			require.NoError(b, lead.Resign(context.Background()))
		})
	}
}

// grow wants so many members in a cluster, and waits until the last has an instance.
func (p *plane) grow(t testing.TB, ctx context.Context, c topology.ClusterID, size int) {
	rev, err := p.store.Commit(ctx, store.Txn{Then: []store.Op{
		op(t, topology.WantKey(c), topology.Want{V: topology.Schema, Cluster: c, Size: size, Reason: "measured"}),
	}})
	require.NoError(t, err)
	for {
		v, err := p.mirror.Next(ctx, rev)
		require.NoError(t, err)
		rev = v.Rev
		if v.Cluster(c).Count(topology.Initialized) == size-perCluster {
			return
		}
	}
}
