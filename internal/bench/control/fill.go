package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/mock"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// perCluster is how many members each cluster has.
const perCluster = 10

// tenants have the clusters between them.
const tenants = 1000

// address of one cluster's subscription.
func address(n int) (tenant.ID, string) {
	return tenant.ID(fmt.Sprintf("tenant%d", n%tenants)), fmt.Sprintf("app%05d", n)
}

func clusterID(n int) topology.ClusterID {
	t, alias := address(n)
	return topology.SubscriptionCluster(topology.TenantID(t), alias)
}

// memberID is known to both processes, so that the cloud has the instances
// that the store speaks of.
func memberID(cluster, n int) topology.MemberID {
	return topology.MemberID(fmt.Sprintf("m%025d", perCluster*cluster+n))
}

// steady asks the default policy, and keeps the size all the same: nobody
// sends requests here, and members would be drained for that.
type steady struct{ autoscale.InFlight }

// Recommend implements [autoscale.Policy].
func (s steady) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	r, err := s.InFlight.Recommend(o)
	r.Size = o.Want
	return r, err
}

// config is the flavour that is measured. Its members have no agents, so no
// heartbeat is due while it runs.
func config(dir string, c *mock.Cloud) stratos.Config {
	return stratos.Config{
		Name: "bench", Dir: dir, Domain: "bench.test",
		Cartridges: []cartridge.Type{proc.Type{}},
		Policies:   map[string]autoscale.Policy{"": steady{}},
		Accounts:   []*cloud.Account{{Name: "mock", Driver: c, Rate: 1e9}},
		Poll:       time.Hour, Heartbeat: time.Hour,
	}
}

// fill makes the data folder of a platform that has run for a while: every
// subscription has its release, and its cluster's members serve it.
func fill(ctx context.Context, dir string, clusters int) (err error) {
	p, err := stratos.New(config(dir, &mock.Cloud{}))
	if err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	revision, err := repository(ctx, filepath.Join(dir, "repository"))
	if err != nil {
		return err
	}
	s, err := bolt.Open(filepath.Join(dir, "stratos.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w := &writer{store: s}
	for n := range min(clusters, tenants) {
		t, _ := address(n)
		w.add(ctx, tenant.Key(t), tenant.Tenant{V: tenant.Schema, ID: t, Created: time.Now()})
	}
	for n := range clusters {
		w.subscription(ctx, n, artifact.Dir(filepath.Join(dir, "repository")), revision)
	}
	return w.flush(ctx)
}

// repository makes the one that all subscriptions follow. Each looks at it by itself.
func repository(ctx context.Context, dir string) (revision string, err error) {
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", dir},
		{"-C", dir, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "--allow-empty", "-m", "empty"},
		{"-C", dir, "rev-parse", "HEAD"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", args[0], err)
		}
		revision = strings.TrimSpace(string(out))
	}
	return revision, nil
}

// writer writes records, a transaction's worth at a time. The first error stays.
type writer struct {
	store store.Store
	ops   []store.Op
	err   error
}

func (w *writer) add(ctx context.Context, key string, value any) {
	op, err := store.NewRecord(key, value).Put()
	w.err = errors.Join(w.err, err)
	if w.ops = append(w.ops, op); len(w.ops) == store.MaxTxnOps && w.err == nil {
		w.err = w.flush(ctx)
	}
}

func (w *writer) flush(ctx context.Context) error {
	if w.err != nil || len(w.ops) == 0 {
		return w.err
	}
	_, err := w.store.Commit(ctx, store.Txn{Then: w.ops})
	w.ops = nil
	return err
}

// subscription writes one with everything that belongs to it.
func (w *writer) subscription(ctx context.Context, n int, url, revision string) {
	t, alias := address(n)
	id, key, now := clusterID(n), artifact.Key{Tenant: string(t), Alias: alias}, time.Now().UTC()
	built := artifact.Release{V: artifact.Schema, Revision: revision, State: artifact.Built,
		Archive: artifact.Digest(strings.Repeat("b", 64)), Plan: artifact.Digest(strings.Repeat("c", 64)), Size: 1 << 20, At: now}
	release := topology.Release{Revision: revision, Archive: string(built.Archive), Plan: string(built.Plan)}
	w.add(ctx, tenant.SubscriptionKey(t, alias), tenant.Subscription{V: tenant.Schema, Tenant: t, Alias: alias, Cartridge: "proc",
		Repository: tenant.Repository{URL: url}, Min: 1, Max: 20, Created: now})
	w.add(ctx, artifact.RepositoryKey(key), artifact.Repository{V: artifact.Schema, URL: url, Head: revision, At: now})
	w.add(ctx, artifact.ReleaseKey(key, revision), built)
	w.add(ctx, topology.ClusterKey(id), topology.Cluster{V: topology.Schema, ID: id, Service: "proc",
		Tenant: topology.TenantID(t), Alias: alias, Min: 1, Max: 20, Current: &release,
		Routes: []topology.Route{{Host: stratos.HostOf(t, alias, "bench.test")}}})
	w.add(ctx, topology.WantKey(id), want(id, perCluster))
	for m := range perCluster {
		at := perCluster*n + m + 1 // as the mock cloud counts
		w.add(ctx, topology.MemberKey(id, memberID(n, m)), topology.Member{V: topology.Schema, ID: memberID(n, m), Cluster: id,
			State: topology.Active, Since: now, Created: now, Account: "mock", Instance: topology.InstanceID(fmt.Sprintf("mock-%06d", at)),
			Address: fmt.Sprintf("10.%d.%d.%d", at>>16&255, at>>8&255, at&255), Assigned: &release, Ready: true,
			Serving: &topology.Runtime{Release: release, Ports: map[string]int{"http": 8080}}})
	}
}

func want(id topology.ClusterID, size int) topology.Want {
	return topology.Want{V: topology.Schema, Cluster: id, Size: size, Reason: "measured", At: time.Now().UTC()}
}
