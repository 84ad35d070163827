package stratos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// PutCredentials gives a subscription what opens its repository, in the place of
// what it had, and has the repository looked at with it. They are sealed with a
// key of the subscription's own before they are stored. Credentials that cannot
// be used with the repository's URL are an error that wraps
// artifact.ErrCredentials; whether the host takes them is for the repository's
// state to say.
func (p *Platform) PutCredentials(ctx context.Context, t tenant.ID, alias string, c artifact.Credentials) error {
	if c == (artifact.Credentials{}) {
		return fmt.Errorf("subscription %s: %w: none are given", alias, artifact.ErrCredentials)
	}
	return p.changeCredentials(ctx, t, alias, func(s tenant.Subscription, rec *store.Record[tenant.Credentials]) (store.Op, error) {
		if err := c.Check(s.Repository.URL); err != nil {
			return store.Op{}, fmt.Errorf("subscription %s: %w", alias, err)
		}
		plain, err := json.Marshal(c)
		if err != nil {
			return store.Op{}, err
		}
		sealed, err := ca.Seal(p.replica.secrets, rec.Key, plain)
		if err != nil {
			return store.Op{}, err
		}
		rec.Value = tenant.Credentials{V: tenant.Schema, Sealed: sealed, Changed: time.Now().UTC()}
		return rec.Put()
	})
}

// RemoveCredentials takes what opens a subscription's repository away; that
// there is none is no error.
func (p *Platform) RemoveCredentials(ctx context.Context, t tenant.ID, alias string) error {
	return p.changeCredentials(ctx, t, alias, func(_ tenant.Subscription, rec *store.Record[tenant.Credentials]) (store.Op, error) {
		return store.Op{Key: rec.Key, Delete: true}, nil
	})
}

// changeCredentials changes a subscription's credentials, as long as there is
// the subscription.
func (p *Platform) changeCredentials(ctx context.Context, t tenant.ID, alias string, change func(tenant.Subscription, *store.Record[tenant.Credentials]) (store.Op, error)) error {
	for {
		sub, err := p.subscription(ctx, t, alias)
		if err != nil {
			return err
		}
		rec := store.NewRecord(tenant.CredentialsKey(t, alias), tenant.Credentials{})
		op, err := change(sub.Value, &rec)
		if err != nil {
			return err
		}
		_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{sub.Unchanged()}, Then: []store.Op{op}})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
}

// credentialsOf opens a subscription's credentials. That they cannot be opened
// is said in the log, and then there are none: the repository refuses.
func (p *Platform) credentialsOf(ctx context.Context, t tenant.ID, alias string) (c artifact.Credentials, err error) {
	rec, err := store.Read[tenant.Credentials](ctx, p.store, tenant.CredentialsKey(t, alias))
	if errors.Is(err, store.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	plain, err := ca.Open(p.replica.secrets, rec.Key, rec.Value.Sealed)
	if err == nil {
		err = json.Unmarshal(plain, &c)
	}
	if err != nil {
		p.log().Error("the credentials of a repository cannot be opened; give them again", "tenant", t, "alias", alias, "err", err)
		return artifact.Credentials{}, nil
	}
	return c, nil
}
