package stratos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// deriver turns wishes into clusters: it writes the cluster records, and
// nobody else does. It follows the store, and derives anew every subscription
// that something about has changed.
type deriver struct {
	*Platform
	guard store.Cond
	// synchronised is what was asked of the coordinator already.
	synchronised map[artifact.Key]time.Time
	// wishes are the repositories to follow; told says that the coordinator
	// has been given some, be it none.
	wishes map[artifact.Key]artifact.Wish
	told   bool
	// domains are those mapped to each subscription.
	domains map[artifact.Key][]tenant.Domain
	// bindings are all connections.
	bindings []tenant.Binding
	// listens are the ports of services, by who has them.
	listens map[int]topology.ClusterID
}

// run derives until ctx ends.
func (d *deriver) run(ctx context.Context) error {
	return store.Follow(ctx, d.store, "", func(b store.Batch, whole bool) error {
		dirty := map[artifact.Key]bool{}
		remapped, bound := whole, whole
		for _, e := range b.Events {
			d.touch(dirty, e.Key)
			remapped = remapped || strings.HasPrefix(e.Key, tenant.DomainPrefix)
			bound = bound || strings.HasPrefix(e.Key, tenant.BindingPrefix)
		}
		if remapped {
			if err := d.remap(ctx, dirty); err != nil {
				return err
			}
		}
		if bound {
			if err := d.readBindings(ctx); err != nil {
				return err
			}
		}
		if d.listens == nil {
			if err := d.readListens(ctx); err != nil {
				return err
			}
		}
		d.touchDependents(dirty)
		return d.deriveAll(ctx, dirty)
	})
}

// remap reads the mapped domains again, and notes whose have changed: the key
// of a deleted one does not say whose it was.
func (d *deriver) remap(ctx context.Context, dirty map[artifact.Key]bool) error {
	recs, _, err := store.ReadAll[tenant.Domain](ctx, d.store, tenant.DomainPrefix)
	if err != nil {
		return err
	}
	before := d.domains
	d.domains = map[artifact.Key][]tenant.Domain{}
	for _, r := range recs {
		k := artifact.Key{Tenant: string(r.Value.Tenant), Alias: r.Value.Alias}
		d.domains[k] = append(d.domains[k], r.Value)
	}
	for _, all := range []map[artifact.Key][]tenant.Domain{before, d.domains} {
		for k := range all {
			if !slices.Equal(before[k], d.domains[k]) {
				dirty[k] = true
			}
		}
	}
	return nil
}

// touch notes which subscriptions a key is about.
func (d *deriver) touch(dirty map[artifact.Key]bool, key string) {
	for _, prefix := range []string{tenant.SubscriptionPrefix, tenant.CredentialsPrefix, tenant.JobPrefix, artifact.RepositoryPrefix, artifact.ReleasePrefix} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			t, rest, _ := strings.Cut(rest, "/")
			alias, _, _ := strings.Cut(rest, "/")
			dirty[artifact.Key{Tenant: t, Alias: alias}] = true
		}
	}
	if rest, ok := strings.CutPrefix(key, tenant.BindingPrefix); ok {
		if part := strings.Split(rest, "/"); len(part) == 3 {
			dirty[artifact.Key{Tenant: part[0], Alias: part[1]}] = true
			dirty[artifact.Key{Tenant: part[0], Alias: part[2]}] = true
		}
	}
	for _, prefix := range []string{topology.ClusterPrefix, topology.MemberPrefix} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			cluster, _, _ := strings.Cut(rest, "/")
			if t, alias, own := strings.Cut(cluster, "."); own {
				dirty[artifact.Key{Tenant: t, Alias: alias}] = true
			}
		}
	}
}

func (d *deriver) deriveAll(ctx context.Context, dirty map[artifact.Key]bool) error {
	changed := !d.told
	// In an order that does not change from run to run: who of several takes a
	// port first, say.
	for _, k := range slices.SortedFunc(maps.Keys(dirty), artifact.Key.Compare) {
		c, err := d.derive(ctx, k)
		if err != nil {
			return err
		}
		changed = changed || c
	}
	if changed {
		d.told = true
		d.coordinator.Set(d.wishes)
	}
	return nil
}

// derive brings one subscription's cluster, and its repository's wish, up to
// date. It says whether the wishes changed.
func (d *deriver) derive(ctx context.Context, k artifact.Key) (wishesChanged bool, err error) {
	sub, err := store.Read[tenant.Subscription](ctx, d.store, tenant.SubscriptionKey(tenant.ID(k.Tenant), k.Alias))
	gone := errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return false, err
	}
	if wishesChanged, err = d.wish(ctx, k, sub.Value, gone); err != nil {
		return wishesChanged, err
	}
	id := clusterOf(tenant.ID(k.Tenant), k.Alias)
	rec, err := store.Read[topology.Cluster](ctx, d.store, topology.ClusterKey(id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return wishesChanged, err
	}
	members, _, err := store.ReadAll[topology.Member](ctx, d.store, topology.MemberPrefix+string(id)+"/")
	if err != nil {
		return wishesChanged, err
	}
	if gone {
		if err := d.unbind(ctx, k); err != nil {
			return wishesChanged, err
		}
		return wishesChanged, d.remove(ctx, rec, members)
	}
	if err := d.bind(ctx, k, rec.Value, members); err != nil {
		return wishesChanged, err
	}
	next, err := d.cluster(ctx, k, sub.Value, rec.Value, members)
	if err != nil || rec.Mod != 0 && reflect.DeepEqual(next, rec.Value) {
		return wishesChanged, err
	}
	d.announce(rec.Value, next)
	rec.Value = next
	op, err := rec.Put()
	if err != nil {
		return wishesChanged, err
	}
	return wishesChanged, d.commit(ctx, rec.Unchanged(), op)
}

// wish keeps the coordinator's wishes, and passes on that somebody asked for a
// look at the repository.
func (d *deriver) wish(ctx context.Context, k artifact.Key, s tenant.Subscription, gone bool) (changed bool, err error) {
	was, had := d.wishes[k]
	if gone {
		delete(d.wishes, k)
		delete(d.synchronised, k)
		return had, nil
	}
	wish, err := d.wishOf(ctx, s)
	if err != nil {
		return false, err
	}
	d.wishes[k] = wish
	if asked := s.Synchronised; asked.After(d.synchronised[k]) {
		first := d.synchronised[k].IsZero()
		d.synchronised[k] = asked
		if had || !first {
			d.coordinator.Poke(k)
		}
	}
	return !had || was != d.wishes[k], nil
}

// remove takes a cluster away: first its members end, then the records go.
func (d *deriver) remove(ctx context.Context, rec store.Record[topology.Cluster], members []store.Record[topology.Member]) error {
	if rec.Mod == 0 {
		return nil
	}
	alive := slices.ContainsFunc(members, func(m store.Record[topology.Member]) bool { return m.Value.State != topology.Terminated })
	if rec.Value.Removed && alive {
		return nil
	}
	if rec.Value.Removed {
		if err := d.logs.Forget(rec.Value.ID); err != nil {
			return err
		}
		d.recorder.Forget(rec.Value.ID)
		delete(d.listens, listenOf(rec.Value))
		return d.commit(ctx, rec.Unchanged(),
			store.Op{Key: rec.Key, Delete: true},
			store.Op{Key: topology.WantKey(rec.Value.ID), Delete: true})
	}
	rec.Value.Removed, rec.Value.Routes = true, nil
	op, err := rec.Put()
	if err != nil {
		return err
	}
	return d.commit(ctx, rec.Unchanged(), op)
}

func (d *deriver) commit(ctx context.Context, unchanged store.Cond, ops ...store.Op) error {
	_, err := d.store.Commit(ctx, store.Txn{If: []store.Cond{d.guard, unchanged}, Then: ops})
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	if errors.As(err, &conflict) || errors.As(err, &unknown) {
		return nil // the change that was in between is seen by the watch, and derived again
	}
	return err
}

// cluster is the cluster that a subscription wishes for, given what it was.
func (d *deriver) cluster(ctx context.Context, k artifact.Key, s tenant.Subscription, c topology.Cluster, members []store.Record[topology.Member]) (topology.Cluster, error) {
	c.V = topology.Schema
	c.ID = clusterOf(s.Tenant, s.Alias)
	c.Service = topology.ServiceName(s.Cartridge)
	c.Tenant, c.Alias = topology.TenantID(s.Tenant), s.Alias
	c.Min, c.Max, c.Policy, c.Placement, c.Size = s.Min, s.Max, s.Policy, s.Placement, s.Size
	c.Removed = false
	if c.Data == "" {
		c.Data = strings.ToLower(rand.Text())
	}
	head, err := d.head(ctx, k)
	if err != nil {
		return c, err
	}
	f := facts{HTTP: true}
	if head != nil && head.State == artifact.Built {
		if f, err = factsOf(head.Note); err != nil {
			return c, err
		}
	}
	config, waits := d.config(k)
	if c.Waits = ""; waits != "" && c.Current == nil {
		c.Waits, head = waits, nil
	}
	if c = d.serve(c, s, f); c.Waits != "" {
		head = nil
	}
	if c.Job, err = d.job(ctx, k); err != nil {
		return c, err
	}
	return rollOut(c, head, config, members), nil
}

// serve says how a cluster is reached, and by whom.
func (d *deriver) serve(c topology.Cluster, s tenant.Subscription, f facts) topology.Cluster {
	k := artifactKey(s.Tenant, s.Alias)
	listen := listenOf(c)
	c.Exclusive, c.Provides, c.Routes = f.Exclusive, f.Provides, nil
	if f.Exclusive {
		c.Min, c.Max = 1, 1
	}
	if f.HTTP {
		c.Routes = d.routes(k, s)
	}
	if f.Provides != "" {
		if listen == 0 {
			listen = d.listen(c.ID)
		}
		if listen == 0 {
			c.Waits = fmt.Sprintf("a port for its service: none of %s is left, configure more", d.cfg.ServicePorts)
			return c
		}
		c.Routes = append(c.Routes, topology.Route{Protocol: balancer.TCP, Port: f.Port, Listen: listen})
	}
	if own := d.bindingsOf(k); len(own) > 0 || c.Bindings != "" {
		c.Bindings = listID(own)
	}
	return c
}

// routes are the hosts of a subscription: its own name, and its mapped domains.
func (d *deriver) routes(k artifact.Key, s tenant.Subscription) []topology.Route {
	routes := []topology.Route{{Host: HostOf(s.Tenant, s.Alias, d.cfg.Domain)}}
	for _, dom := range d.domains[k] {
		routes = append(routes, topology.Route{Host: strings.ToLower(dom.Host)})
	}
	return routes
}

// HostOf is the host name of a subscription: alias.domain for the default
// tenant, alias.tenant.domain for others.
func HostOf(t tenant.ID, alias, domain string) string {
	if t == tenant.Default {
		return alias + "." + domain
	}
	return alias + "." + string(t) + "." + domain
}

// head is the newest release of a subscription's repository, or nil.
func (d *deriver) head(ctx context.Context, k artifact.Key) (*artifact.Release, error) {
	repo, err := store.Read[artifact.Repository](ctx, d.store, artifact.RepositoryKey(k))
	if errors.Is(err, store.ErrNotFound) || err == nil && repo.Value.Head == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rel, err := store.Read[artifact.Release](ctx, d.store, artifact.ReleaseKey(k, repo.Value.Head))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &rel.Value, err
}

// announce tells the operator what became of a release.
func (d *deriver) announce(before, now topology.Cluster) {
	log := d.log().With("cluster", now.ID)
	if now.Current != nil && !now.Current.Same(before.Current) {
		log.Info("release is current", "release", now.Current.Revision)
	}
	if now.Refused != nil && (before.Refused == nil || before.Refused.Release != now.Refused.Release) {
		log.Warn("release refused", "release", now.Refused.Release.Revision, "reason", now.Refused.Reason)
	}
	if now.Candidate != nil && !now.Candidate.Same(before.Candidate) {
		log.Info("trying a release", "release", now.Candidate.Revision)
	}
}
