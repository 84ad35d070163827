package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// subscribeEvery is the pause before what could not be subscribed is tried again.
const subscribeEvery = 10 * time.Second

// platform is what a subscriber asks of a platform.
type platform interface {
	Subscribe(ctx context.Context, s tenant.Subscription) error
	Scale(ctx context.Context, t tenant.ID, alias string, minimum, maximum int) error
}

var _ platform = (*stratos.Platform)(nil)

// subscriber makes a platform's subscriptions those of a file. One that does
// not succeed, say because its repository is away, keeps nobody else waiting:
// it is logged, and tried again.
type subscriber struct {
	platform platform
	wishes   []tenant.Subscription
	domain   string
	every    time.Duration // pause between two rounds
	log      *slog.Logger
}

// Run returns when every wish is granted, or ctx ends.
func (s *subscriber) Run(ctx context.Context) error {
	open := s.wishes
	told := map[string]string{} // the last error of each, so that it is logged once
	for {
		var failed []tenant.Subscription
		for _, w := range open {
			err := s.subscribe(ctx, w)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				continue
			}
			failed = append(failed, w)
			if key := tenant.SubscriptionKey(w.Tenant, w.Alias); told[key] != err.Error() {
				s.log.Error("not subscribed; trying again and again", "tenant", w.Tenant, "alias", w.Alias, "every", s.every, "err", err)
				told[key] = err.Error()
			}
		}
		if open = failed; len(open) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.every):
		}
	}
}

// subscribe makes one subscription, or brings the bounds of the one that is
// there up to date.
func (s *subscriber) subscribe(ctx context.Context, w tenant.Subscription) error {
	log := s.log.With("tenant", w.Tenant, "alias", w.Alias, "min", w.Min, "max", w.Max, "host", stratos.HostOf(w.Tenant, w.Alias, s.domain))
	taken := s.platform.Subscribe(ctx, w)
	if taken == nil {
		log.Info("subscribed", "cartridge", w.Cartridge)
		return nil
	}
	if !errors.Is(taken, tenant.ErrAliasTaken) {
		return taken
	}
	switch err := s.platform.Scale(ctx, w.Tenant, w.Alias, w.Min, w.Max); {
	case errors.Is(err, store.ErrNotFound):
		return taken // the members of a former subscription are still ending
	case err != nil:
		return fmt.Errorf("bounds: %w", err)
	}
	log.Info("subscribed before: its bounds are as in the file")
	return nil
}
