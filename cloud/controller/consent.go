package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// consentKey is where operators' consent is. It is never streamed.
const consentKey = "controller/consent"

// consentFresh is for how long the leader trusts what it last read there.
const consentFresh = time.Second

// consent is what operators allow beyond the limits, and until when. It holds
// for one generation of the store: a restored backup brings none with it.
type consent struct {
	V          int       `json:"v"`
	Generation int64     `json:"generation"`
	Replace    time.Time `json:"replace,omitzero"` // members are replaced without limit
	Sweep      time.Time `json:"sweep,omitzero"`   // all orphans may be ended
}

// AllowReplacements is an operator's consent: for d from now, members that
// lost their health are replaced beyond the limit of the kill guard. It works
// on any replica; the leader follows within seconds.
func (c *Controller) AllowReplacements(ctx context.Context, d time.Duration) error {
	return c.allow(ctx, func(k *consent) { k.Replace = c.clock.now().Add(d) })
}

// AllowSweep is an operator's consent: for d from now, sweeps end the
// instances that belong to no member also if there are more than their limit,
// or if they were launched before a backup was restored: as many as the limit
// in each pass. It works on any replica. See [Controller.Orphans].
func (c *Controller) AllowSweep(ctx context.Context, d time.Duration) error {
	return c.allow(ctx, func(k *consent) { k.Sweep = c.clock.now().Add(d) })
}

func (c *Controller) allow(ctx context.Context, change func(*consent)) error {
	id, err := c.Store.ID(ctx)
	if err != nil {
		return fmt.Errorf("operator's consent: %w", err)
	}
	for {
		rec, err := store.Read[consent](ctx, c.Store, consentKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("operator's consent: %w", err)
		}
		if rec.Value.Generation != id.Generation {
			rec.Value = consent{}
		}
		rec.Value.V, rec.Value.Generation = topology.Schema, id.Generation
		change(&rec.Value)
		op, err := rec.Put()
		if err != nil {
			return err
		}
		_, err = c.Store.Commit(ctx, store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}})
		var conflict *store.ConflictError
		var unknown *store.UnknownError
		if !errors.As(err, &conflict) && !errors.As(err, &unknown) {
			return err
		}
	}
}

// consents reads what operators allow, at most once a second.
func (r *run) consents(ctx context.Context) (consent, error) {
	now := r.clock.now()
	r.mu.Lock()
	allowed, read := r.allowed, r.allowedAt
	r.mu.Unlock()
	if !read.IsZero() && now.Sub(read) < consentFresh {
		return allowed, nil
	}
	rec, err := store.Read[consent](ctx, r.Store, consentKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return consent{}, err
	}
	if rec.Value.Generation != r.id.Generation {
		rec.Value = consent{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed, r.allowedAt = rec.Value, now
	return rec.Value, nil
}
