package stratos

import (
	"context"
	"errors"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// readBindings reads all connections.
func (d *deriver) readBindings(ctx context.Context) error {
	recs, _, err := store.ReadAll[tenant.Binding](ctx, d.store, tenant.BindingPrefix)
	if err != nil {
		return err
	}
	d.bindings = nil
	for _, r := range recs {
		d.bindings = append(d.bindings, r.Value)
	}
	return nil
}

// touchDependents notes who is connected to a subscription that something has
// changed about: where it is reached is in their environment.
func (d *deriver) touchDependents(dirty map[artifact.Key]bool) {
	for _, b := range d.bindings {
		if dirty[artifactKey(b.Tenant, b.Provider)] {
			dirty[artifactKey(b.Tenant, b.Dependent)] = true
		}
	}
}

// bindingsOf are the connections to a subscription.
func (d *deriver) bindingsOf(provider artifact.Key) (own []tenant.Binding) {
	for _, b := range d.bindings {
		if artifactKey(b.Tenant, b.Provider) == provider {
			own = append(own, b)
		}
	}
	return own
}

// bind notes the connections that a provider's service knows now.
func (d *deriver) bind(ctx context.Context, k artifact.Key, c topology.Cluster, members []store.Record[topology.Member]) error {
	own := d.bindingsOf(k)
	if c.Bindings == "" || c.Bindings != listID(own) || listenOf(c) == 0 || !allBound(c.Bindings, members) {
		return nil
	}
	for _, b := range own {
		if b.Ready {
			continue
		}
		rec, err := store.Read[tenant.Binding](ctx, d.store, tenant.BindingKey(b.Tenant, b.Provider, b.Dependent))
		if errors.Is(err, store.ErrNotFound) || err == nil && rec.Value.User != b.User {
			continue // the watch will say so
		}
		if err != nil {
			return err
		}
		rec.Value.Ready = true
		op, err := rec.Put()
		if err != nil {
			return err
		}
		if err := d.commit(ctx, rec.Unchanged(), op); err != nil {
			return err
		}
	}
	return nil
}

// allBound reports whether every member that serves knows a list of bindings.
func allBound(list string, members []store.Record[topology.Member]) bool {
	active := 0
	for _, m := range members {
		if m.Value.State != topology.Active {
			continue
		}
		if active++; m.Value.Bound != list {
			return false
		}
	}
	return active > 0
}

// unbind removes the connections of a subscription that is gone.
func (d *deriver) unbind(ctx context.Context, k artifact.Key) error {
	for _, b := range d.bindings {
		if artifactKey(b.Tenant, b.Provider) != k && artifactKey(b.Tenant, b.Dependent) != k {
			continue
		}
		sub := store.Cond{Key: tenant.SubscriptionKey(tenant.ID(k.Tenant), k.Alias)} // it is not there again
		if err := d.commit(ctx, sub, store.Op{Key: tenant.BindingKey(b.Tenant, b.Provider, b.Dependent), Delete: true}); err != nil {
			return err
		}
	}
	return nil
}

// config names what a dependent's environment is made of, and says what it
// still waits for.
func (d *deriver) config(k artifact.Key) (id, waits string) {
	var own []tenant.Binding
	for _, b := range d.bindings {
		if artifactKey(b.Tenant, b.Dependent) == k {
			own = append(own, b)
		}
	}
	byAge(own)
	var parts []string
	for _, b := range own {
		if !b.Ready {
			waits = "the connection to " + b.Provider
			continue
		}
		parts = append(parts, b.Provider, b.User, b.Database)
	}
	if len(parts) == 0 {
		return "", waits
	}
	return digestOf(parts...), waits
}

// readListens reads which ports of services are taken.
func (d *deriver) readListens(ctx context.Context) error {
	recs, _, err := store.ReadAll[topology.Cluster](ctx, d.store, topology.ClusterPrefix)
	if err != nil {
		return err
	}
	d.listens = map[int]topology.ClusterID{}
	for _, r := range recs {
		if n := listenOf(r.Value); n != 0 {
			d.listens[n] = r.Value.ID
		}
	}
	return nil
}

// listen takes the first port that is free for a cluster's service; 0: none is.
// One that it took before, and whose record was not written, is its own.
func (d *deriver) listen(c topology.ClusterID) int {
	for n := d.cfg.ServicePorts.First; n <= d.cfg.ServicePorts.Last; n++ {
		if of, taken := d.listens[n]; !taken || of == c {
			d.listens[n] = c
			return n
		}
	}
	return 0
}
