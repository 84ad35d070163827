package stratos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// Cartridges lists what a tenant can subscribe to, by name: what the flavour is
// made of, what is for everyone, and what is the tenant's own. With an empty
// tenant it is what everyone can.
func (p *Platform) Cartridges(ctx context.Context, t tenant.ID) ([]api.Cartridge, error) {
	seen := map[string]api.Cartridge{}
	scopes := []tenant.ID{""}
	if t != "" {
		scopes = append(scopes, t)
	}
	for _, scope := range scopes {
		recs, _, err := store.ReadAll[tenant.Cartridge](ctx, p.store, tenant.CartridgeKey(scope, ""))
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			c, err := p.show(r.Value)
			if err != nil {
				return nil, err
			}
			seen[c.Name] = c // the tenant's own is in front of everyone's
		}
	}
	for name := range p.cartridges {
		seen[name] = api.Cartridge{Name: name, BuiltIn: true}
	}
	return slices.SortedFunc(maps.Values(seen), func(a, b api.Cartridge) int { return strings.Compare(a.Name, b.Name) }), nil
}

func (p *Platform) show(c tenant.Cartridge) (api.Cartridge, error) {
	d, err := cartridge.DecodeDefinition(c.Definition)
	if err != nil {
		return api.Cartridge{}, fmt.Errorf("the record of cartridge %s: %w", c.Name, err)
	}
	return api.Cartridge{
		Name: d.Name, Description: d.Description, Version: d.Version, Tenant: c.Tenant, Changed: c.Changed, Settings: d.Settings,
	}, nil
}

// PutCartridge adds a cartridge that is only data, or replaces the one of that
// name, and says whether it is new. With an empty tenant it is for everyone,
// else for that tenant alone. Releases that are built stay as they are; the
// next ones are planned with what is new.
func (p *Platform) PutCartridge(ctx context.Context, t tenant.ID, d cartridge.Definition) (created bool, err error) {
	text, err := d.Encode()
	if err != nil {
		return false, fmt.Errorf("cartridge is %w: %w", tenant.ErrInvalid, err)
	}
	if p.cartridges[d.Name] != nil {
		return false, fmt.Errorf("cartridge %s is %w: this flavour is made of one of that name: choose another", d.Name, tenant.ErrInvalid)
	}
	if t != "" {
		if _, err := store.Read[tenant.Tenant](ctx, p.store, tenant.Key(t)); err != nil {
			return false, fmt.Errorf("tenant %s: %w", t, err)
		}
	}
	for {
		rec, err := store.Read[tenant.Cartridge](ctx, p.store, tenant.CartridgeKey(t, d.Name))
		created := errors.Is(err, store.ErrNotFound)
		switch {
		case created:
			rec = store.NewRecord(tenant.CartridgeKey(t, d.Name), tenant.Cartridge{V: tenant.Schema, Tenant: t, Name: d.Name, Created: time.Now()})
		case err != nil:
			return false, err
		}
		rec.Value.Definition, rec.Value.Changed = text, time.Now()
		op, err := rec.Put()
		if err != nil {
			return false, err
		}
		_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return created, err
		}
	}
}

// WithdrawCartridge takes a cartridge back that was brought at run time. One
// that a subscription uses stays, and the error, an [api.ErrInUse], names them.
func (p *Platform) WithdrawCartridge(ctx context.Context, t tenant.ID, name string) error {
	for {
		rec, err := store.Read[tenant.Cartridge](ctx, p.store, tenant.CartridgeKey(t, name))
		switch {
		case errors.Is(err, store.ErrNotFound) && p.cartridges[name] != nil:
			return fmt.Errorf("cartridge %s is %w: the flavour's program is made of it", name, api.ErrInUse)
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("there is no cartridge %q here: %w", name, store.ErrNotFound)
		case err != nil:
			return err
		}
		users, err := p.users(ctx, t, name)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fmt.Errorf("cartridge %s is %w by %s: unsubscribe first", name, api.ErrInUse, strings.Join(users, ", "))
		}
		// Whoever subscribes meanwhile changes the record, see bring.
		_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{{Key: rec.Key, Delete: true}}})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
}

// users are the subscriptions that use a cartridge of a tenant, or of everyone.
func (p *Platform) users(ctx context.Context, t tenant.ID, name string) ([]string, error) {
	within := tenant.SubscriptionPrefix
	if t != "" {
		within += string(t) + "/"
	}
	subs, _, err := store.ReadAll[tenant.Subscription](ctx, p.store, within)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, s := range subs {
		if s.Value.Cartridge != name {
			continue
		}
		used, err := p.cartridgeRecord(ctx, s.Value.Tenant, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil && used.Value.Tenant == t {
			users = append(users, fmt.Sprintf("subscription %s of tenant %s", s.Value.Alias, s.Value.Tenant))
		}
	}
	return users, nil
}

// cartridgeRecord is the record that a tenant means by a name: its own, or the
// one for everyone, or store.ErrNotFound.
func (p *Platform) cartridgeRecord(ctx context.Context, t tenant.ID, name string) (store.Record[tenant.Cartridge], error) {
	rec, err := store.Read[tenant.Cartridge](ctx, p.store, tenant.CartridgeKey(t, name))
	if errors.Is(err, store.ErrNotFound) {
		return store.Read[tenant.Cartridge](ctx, p.store, tenant.CartridgeKey("", name))
	}
	return rec, err
}

// cartridge is what a tenant means by a name. Where its record is only data,
// use makes sure of it in the transaction that subscribes: it is not withdrawn
// meanwhile, and who is about to withdraw it sees that something happened.
func (p *Platform) cartridge(ctx context.Context, t tenant.ID, name string) (c cartridge.Type, use func(*store.Txn) error, err error) {
	if c := p.cartridges[name]; c != nil {
		return c, func(*store.Txn) error { return nil }, nil
	}
	rec, err := p.cartridgeRecord(ctx, t, name)
	if err != nil {
		return nil, nil, err
	}
	d, err := cartridge.DecodeDefinition(rec.Value.Definition)
	if err != nil {
		return nil, nil, fmt.Errorf("the record of cartridge %s: %w", name, err)
	}
	return d.Type(), func(x *store.Txn) error {
		op, err := rec.Put()
		x.If, x.Then = append(x.If, rec.Unchanged()), append(x.Then, op)
		return err
	}, nil
}
