package stratos

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// Webhook returns the secret of a subscription's webhook, which is stored
// nowhere: 256 bits, in hex. store.ErrNotFound: there is no such subscription.
func (p *Platform) Webhook(ctx context.Context, t tenant.ID, alias string) (secret string, err error) {
	rec, err := p.subscription(ctx, t, alias)
	if err != nil {
		return "", err
	}
	return p.secretOf(rec.Value, "webhook", rec.Value.Webhook)
}

// secretOf derives a secret of a subscription, the nth of a kind. The next
// subscription of this alias has another one.
func (p *Platform) secretOf(s tenant.Subscription, kind string, n int) (string, error) {
	b, err := ca.Derive(p.replica.secrets, fmt.Sprintf("%s %s %s %s %d", kind, s.Tenant, s.Alias, s.Created.UTC().Format(time.RFC3339Nano), n))
	return hex.EncodeToString(b), err
}

// RenewWebhook gives a subscription's webhook another secret.
func (p *Platform) RenewWebhook(ctx context.Context, t tenant.ID, alias string) error {
	return p.changeSubscription(ctx, t, alias, func(s *tenant.Subscription) error {
		s.Webhook++
		return nil
	})
}

// Switch lets a subscription follow another branch or tag, or, given the full
// hash of a commit, stay at it; empty is the default branch. That is also how
// one rolls back: a commit whose release is kept needs no look at the
// repository. A ref that is not there is an error that wraps api.ErrRepository,
// and nothing changes.
func (p *Platform) Switch(ctx context.Context, t tenant.ID, alias, ref string) error {
	rec, err := p.subscription(ctx, t, alias)
	if err != nil {
		return err
	}
	s := rec.Value
	if s.Repository.URL == "" {
		return fmt.Errorf("subscription %s: %w: it has none", alias, api.ErrRepository)
	}
	s.Repository.Ref = ref
	kept, err := p.keeps(ctx, artifactKey(s.Tenant, alias), ref)
	if err != nil {
		return err
	}
	if !kept {
		if err := p.checkRepository(ctx, s); err != nil {
			return fmt.Errorf("subscription %s: %w: %w", alias, api.ErrRepository, err)
		}
	}
	return p.changeSubscription(ctx, t, alias, func(s *tenant.Subscription) error {
		s.Repository.Ref = ref
		return nil
	})
}

// keeps reports whether there is a release of a revision.
func (p *Platform) keeps(ctx context.Context, k artifact.Key, revision string) (bool, error) {
	if revision == "" {
		return false, nil
	}
	rel, err := store.Read[artifact.Release](ctx, p.store, artifact.ReleaseKey(k, revision))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && rel.Value.State == artifact.Built, err
}
