package stratos

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// serviceHost is where the ports of services are: instances have a balancer on
// their machine. Off loopback they would be in the clear.
const serviceHost = "127.0.0.1"

// Connect lets a subscription, the dependent, use the service that another one
// of the same tenant provides. It records the wish: when the service knows a
// user of the dependent's own, the dependent's runtime is switched to one that
// has the credentials in its environment. Connecting twice is as once.
func (p *Platform) Connect(ctx context.Context, t tenant.ID, dependent, provider string) error {
	if dependent == provider {
		return fmt.Errorf("subscription %s is %w: it cannot connect to itself", dependent, tenant.ErrInvalid)
	}
	var both [2]store.Record[tenant.Subscription]
	for i, alias := range []string{dependent, provider} {
		var err error
		if both[i], err = p.subscription(ctx, t, alias); err != nil {
			return err
		}
	}
	if err := p.checkProvider(ctx, t, provider); err != nil {
		return err
	}
	rec := store.NewRecord(tenant.BindingKey(t, provider, dependent), tenant.Binding{
		V: tenant.Schema, Tenant: t, Provider: provider, Dependent: dependent,
		User: "u" + strings.ToLower(rand.Text())[:15], Database: databaseOf(dependent),
		Created: time.Now(),
	})
	op, err := rec.Put()
	if err != nil {
		return err
	}
	_, err = p.store.Commit(ctx, store.Txn{
		If:   []store.Cond{rec.Unchanged(), both[0].Unchanged(), both[1].Unchanged()},
		Then: []store.Op{op},
	})
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict) && conflict.Failed.Key == rec.Key:
		return nil // it is connected
	case errors.As(err, &conflict):
		return p.Connect(ctx, t, dependent, provider) // a subscription changed: look again
	}
	return err
}

// databaseOf is the name of a dependent's database: letters and digits, which
// need no quoting, and no _, which stands for any letter where access is granted.
func databaseOf(alias string) string {
	plain := strings.ReplaceAll(alias, "-", "")
	if plain != alias {
		plain += digestOf(alias)[:6] // not that of an alias without dashes
	}
	return plain
}

// checkProvider refuses to connect to what surely provides nothing. What has
// no release yet may still do.
func (p *Platform) checkProvider(ctx context.Context, t tenant.ID, alias string) error {
	c, err := store.Read[topology.Cluster](ctx, p.store, topology.ClusterKey(clusterOf(t, alias)))
	if errors.Is(err, store.ErrNotFound) || err == nil && c.Value.Current == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Value.Provides == "" {
		return fmt.Errorf("subscription %s is %w: its cartridge, %s, provides nothing to connect to", alias, tenant.ErrInvalid, c.Value.Service)
	}
	return nil
}

// Disconnect takes the dependent's user away from the service, at once. What it
// stored there stays, and is there again when it connects again.
// store.ErrNotFound if they are not connected.
func (p *Platform) Disconnect(ctx context.Context, t tenant.ID, dependent, provider string) error {
	key := tenant.BindingKey(t, provider, dependent)
	rec, err := store.Read[tenant.Binding](ctx, p.store, key)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("subscription %s is not connected to %s: %w", dependent, provider, store.ErrNotFound)
	}
	if err != nil {
		return err
	}
	_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: key, Kind: store.CondCreate, Rev: rec.Create}}, Then: []store.Op{{Key: key, Delete: true}}})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return nil // somebody else did
	}
	return err
}

// dependents are the aliases of who is connected to a subscription.
func (p *Platform) dependents(ctx context.Context, t tenant.ID, provider string) ([]string, error) {
	recs, _, err := store.ReadAll[tenant.Binding](ctx, p.store, tenant.BindingKey(t, provider, ""))
	var names []string
	for _, r := range recs {
		names = append(names, r.Value.Dependent)
	}
	return names, err
}

// Bindings implements [api.Secrets].
func (p *Platform) Bindings(ctx context.Context, c topology.ClusterID) (wire.Bindings, error) {
	t, alias := ownerOf(c)
	recs, _, err := store.ReadAll[tenant.Binding](ctx, p.store, tenant.BindingKey(t, alias, ""))
	if err != nil {
		return wire.Bindings{}, err
	}
	all := make([]tenant.Binding, len(recs))
	for i, r := range recs {
		all[i] = r.Value
	}
	out := wire.Bindings{ID: listID(all), All: []wire.Binding{}}
	for _, b := range all {
		password, err := p.password(b)
		if err != nil {
			return wire.Bindings{}, err
		}
		out.All = append(out.All, wire.Binding{User: b.User, Password: password, Database: b.Database})
	}
	return out, nil
}

// Runtime implements [api.Secrets].
func (p *Platform) Runtime(ctx context.Context, c topology.ClusterID, a *wire.Assignment) error {
	rec, err := store.Read[topology.Cluster](ctx, p.store, topology.ClusterKey(c))
	if err != nil {
		return err
	}
	a.Data = rec.Value.Data
	for _, name := range a.Plan.Secrets {
		secret, err := ca.Derive(p.replica.secrets, "secret "+rec.Value.Data+" "+name)
		if err != nil {
			return err
		}
		if a.Secrets == nil {
			a.Secrets = map[string]string{}
		}
		a.Secrets[name] = hex.EncodeToString(secret[:16])
	}
	a.Env, err = p.environment(ctx, c)
	return err
}

// environment is what a dependent is told of its connections. It is made of
// records that hold no secret, so that nothing secret is in the store.
func (p *Platform) environment(ctx context.Context, c topology.ClusterID) (map[string]string, error) {
	t, alias := ownerOf(c)
	recs, _, err := store.ReadAll[tenant.Binding](ctx, p.store, tenant.BindingPrefix+string(t)+"/")
	if err != nil {
		return nil, err
	}
	var own []tenant.Binding
	for _, r := range recs {
		if b := r.Value; b.Dependent == alias && b.Ready {
			own = append(own, b)
		}
	}
	byAge(own)
	env := map[string]string{}
	for _, b := range own {
		provider, err := store.Read[topology.Cluster](ctx, p.store, topology.ClusterKey(clusterOf(t, b.Provider)))
		if errors.Is(err, store.ErrNotFound) {
			continue // being unsubscribed
		}
		if err != nil {
			return nil, err
		}
		if err := p.describe(env, b, provider.Value); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// describe adds the variables of one connection.
func (p *Platform) describe(env map[string]string, b tenant.Binding, provider topology.Cluster) error {
	password, err := p.password(b)
	if err != nil {
		return err
	}
	host, port := serviceHost, strconv.Itoa(listenOf(provider))
	u := url.URL{Scheme: provider.Provides, User: url.UserPassword(b.User, password), Host: net.JoinHostPort(host, port), Path: "/" + b.Database}
	prefix := strings.ToUpper(strings.ReplaceAll(b.Provider, "-", "_")) + "_"
	for name, value := range map[string]string{
		"HOST": host, "PORT": port, "NAME": b.Database, "USER": b.User, "PASSWORD": password, "URL": u.String(),
	} {
		env[prefix+name] = value
	}
	if env["DATABASE_URL"] == "" { // of the connection that was made first
		env["DATABASE_URL"] = u.String()
	}
	return nil
}

// password is a binding's, 128 bits: the user's name is random and never comes
// again, and who has not the master key cannot tell the one from the other.
func (p *Platform) password(b tenant.Binding) (string, error) {
	secret, err := ca.Derive(p.replica.secrets, fmt.Sprintf("binding %s %s %s %s", b.Tenant, b.Provider, b.Dependent, b.User))
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(secret[:16]), nil
}

// listID names a list of bindings.
func listID(all []tenant.Binding) string {
	var users []string
	for _, b := range all {
		users = append(users, b.User)
	}
	slices.Sort(users)
	return digestOf(users...)
}

func digestOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:8])
}

func byAge(all []tenant.Binding) {
	slices.SortFunc(all, func(a, b tenant.Binding) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Provider, b.Provider)
	})
}

// ownerOf is whose a cluster is.
func ownerOf(c topology.ClusterID) (tenant.ID, string) {
	t, alias, _ := strings.Cut(string(c), ".")
	return tenant.ID(t), alias
}

// listenOf is the port on which balancers take connections to a cluster's
// service, or 0.
func listenOf(c topology.Cluster) int {
	for _, r := range c.Routes {
		if r.Listen != 0 {
			return r.Listen
		}
	}
	return 0
}

var _ api.Secrets = (*Platform)(nil)
