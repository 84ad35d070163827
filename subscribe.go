package stratos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// Subscribe records a tenant's wish to use a cartridge. Without the URL of a
// repository, one is kept here, to be pushed to. The repository and its
// branch are looked at first, so that what cannot work is refused here, and
// nothing is recorded; one that needs credentials gets them afterwards, with
// PutCredentials, and runs nothing until then. tenant.ErrAliasTaken: there is such a subscription
// already, or the former one's members are still ending.
func (p *Platform) Subscribe(ctx context.Context, s tenant.Subscription) error {
	s = s.WithDefaults()
	s.Created = time.Now()
	if err := p.checkSubscription(ctx, &s); err != nil {
		return err
	}
	k, kept := artifactKey(s.Tenant, s.Alias), s.Repository.URL == artifact.Hosted
	if kept {
		if err := checkHosting(); err != nil {
			return fmt.Errorf("subscription %s: %w", s.Alias, err)
		}
	} else if err := p.checkRepository(ctx, s); err != nil && !errors.Is(err, artifact.ErrAuth) {
		return fmt.Errorf("subscription %s: %w", s.Alias, err)
	}
	rec := store.NewRecord(tenant.SubscriptionKey(s.Tenant, s.Alias), s)
	op, err := rec.Put()
	if err != nil {
		return err
	}
	for {
		_, use, err := p.cartridge(ctx, s.Tenant, s.Cartridge)
		if err != nil {
			return p.noCartridge(ctx, s, err)
		}
		x := store.Txn{
			If: []store.Cond{
				rec.Unchanged(),
				{Key: topology.ClusterKey(clusterOf(s.Tenant, s.Alias))}, // the former one is gone
			},
			Then: []store.Op{op},
		}
		if kept {
			repo, err := store.NewRecord(artifact.HostedKey(k), artifact.NewHosted()).Put()
			if err != nil {
				return err
			}
			x.Then = append(x.Then, repo)
		}
		if err := use(&x); err != nil {
			return err
		}
		_, err = p.store.Commit(ctx, x)
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || !strings.HasPrefix(conflict.Failed.Key, tenant.CartridgePrefix) {
			return aliasTaken(s, err)
		}
	}
}

// noCartridge explains why there is no such cartridge.
func (p *Platform) noCartridge(ctx context.Context, s tenant.Subscription, err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	all, err := p.Cartridges(ctx, s.Tenant)
	if err != nil {
		return err
	}
	var known []string
	for _, c := range all {
		known = append(known, c.Name)
	}
	return fmt.Errorf("subscription %s: unknown cartridge %q: this flavour has %s", s.Alias, s.Cartridge, strings.Join(known, ", "))
}

func aliasTaken(s tenant.Subscription, err error) error {
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	if strings.HasPrefix(conflict.Failed.Key, topology.ClusterPrefix) {
		return fmt.Errorf("subscription %s: %w: the members of the former subscription are still ending; try again in a moment", s.Alias, tenant.ErrAliasTaken)
	}
	return fmt.Errorf("subscription %s: %w by another subscription of tenant %s: choose another alias, or unsubscribe that one first", s.Alias, tenant.ErrAliasTaken, s.Tenant)
}

// checkSubscription refuses what cannot work, and says where the repository is
// if nobody did.
func (p *Platform) checkSubscription(ctx context.Context, s *tenant.Subscription) error {
	if err := s.Check(); err != nil {
		return err
	}
	t, _, err := p.cartridge(ctx, s.Tenant, s.Cartridge)
	if err != nil {
		return p.noCartridge(ctx, *s, err)
	}
	if alone, ok := t.(cartridge.Standalone); s.Repository.URL == "" && !(ok && alone.Standalone()) {
		s.Repository.URL = artifact.Hosted
	}
	if p.cfg.Policies[s.Policy] == nil {
		known := slices.DeleteFunc(slices.Sorted(maps.Keys(p.cfg.Policies)), func(n string) bool { return n == "" })
		return fmt.Errorf("subscription %s: unknown scaling policy %q: this flavour has the default and [%s]", s.Alias, s.Policy, strings.Join(known, ", "))
	}
	if s.Placement != "" {
		return fmt.Errorf("subscription %s: unknown placement %q: this flavour has only the default, its accounts one after another", s.Alias, s.Placement)
	}
	if _, err := store.Read[tenant.Tenant](ctx, p.store, tenant.Key(s.Tenant)); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("subscription %s: there is no tenant %q", s.Alias, s.Tenant)
		}
		return err
	}
	_, err = store.Read[tenant.Subscription](ctx, p.store, tenant.SubscriptionKey(s.Tenant, s.Alias))
	switch {
	case err == nil:
		return aliasTaken(*s, &store.ConflictError{})
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}

func (p *Platform) checkRepository(ctx context.Context, s tenant.Subscription) error {
	wish, err := p.wishOf(ctx, s)
	if err != nil {
		return err
	}
	return p.coordinator.Check(ctx, artifactKey(s.Tenant, s.Alias), wish)
}

// Unsubscribe takes a subscription back: its routes go at once, its members
// are drained and ended. store.ErrNotFound if there is none; api.ErrInUse while
// others are connected to it.
func (p *Platform) Unsubscribe(ctx context.Context, t tenant.ID, alias string) error {
	rec, err := p.subscription(ctx, t, alias)
	if err != nil {
		return err
	}
	users, err := p.dependents(ctx, t, alias)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("subscription %s is %w by %s: disconnect first", alias, api.ErrInUse, strings.Join(users, ", "))
	}
	_, err = p.store.Commit(ctx, store.Txn{
		If: []store.Cond{rec.Unchanged()},
		Then: []store.Op{{Key: rec.Key, Delete: true}, {Key: tenant.CredentialsKey(t, alias), Delete: true},
			{Key: artifact.HostedKey(artifactKey(t, alias)), Delete: true}},
	})
	return err
}

// Synchronise asks for a look at the subscription's repository now, rather
// than at the next poll. It records the wish and does not wait.
func (p *Platform) Synchronise(ctx context.Context, t tenant.ID, alias string) error {
	return p.changeSubscription(ctx, t, alias, func(s *tenant.Subscription) error {
		s.Synchronised = time.Now()
		return nil
	})
}

// Scale changes the bounds of a subscription's members. A smaller maximum
// drains the surplus; a greater minimum launches what is missing.
func (p *Platform) Scale(ctx context.Context, t tenant.ID, alias string, minimum, maximum int) error {
	return p.changeSubscription(ctx, t, alias, func(s *tenant.Subscription) error {
		s.Min, s.Max = minimum, maximum
		return s.Check()
	})
}

func (p *Platform) changeSubscription(ctx context.Context, t tenant.ID, alias string, change func(*tenant.Subscription) error) error {
	for {
		rec, err := p.subscription(ctx, t, alias)
		if err != nil {
			return err
		}
		if err := change(&rec.Value); err != nil {
			return err
		}
		op, err := rec.Put()
		if err != nil {
			return err
		}
		_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
}

func (p *Platform) subscription(ctx context.Context, t tenant.ID, alias string) (store.Record[tenant.Subscription], error) {
	rec, err := store.Read[tenant.Subscription](ctx, p.store, tenant.SubscriptionKey(t, alias))
	if errors.Is(err, store.ErrNotFound) {
		return rec, fmt.Errorf("tenant %s has no subscription %q: %w", t, alias, store.ErrNotFound)
	}
	return rec, err
}

func clusterOf(t tenant.ID, alias string) topology.ClusterID {
	return topology.SubscriptionCluster(topology.TenantID(t), alias)
}

func artifactKey(t tenant.ID, alias string) artifact.Key {
	return artifact.Key{Tenant: string(t), Alias: alias}
}

// wishOf is what is wanted of a subscription's repository.
func (p *Platform) wishOf(ctx context.Context, s tenant.Subscription) (artifact.Wish, error) {
	c, err := p.credentialsOf(ctx, s.Tenant, s.Alias)
	return artifact.Wish{URL: cmp.Or(s.Repository.URL, artifact.Empty), Ref: s.Repository.Ref, Credentials: c}, err
}
