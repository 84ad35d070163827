package controller

import (
	"context"
	"errors"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Shutdown ends every instance of the platform: the members' records say so
// first, then the clouds are told until none is left, or ctx ends. It is
// called while Run is not running; the next Run launches anew.
func (c *Controller) Shutdown(ctx context.Context, lead *store.Leadership) error {
	id, err := c.Store.ID(ctx)
	if err != nil {
		return err
	}
	recs, _, err := store.ReadAll[topology.Member](ctx, c.Store, topology.MemberPrefix)
	if err != nil {
		return err
	}
	for _, r := range recs {
		_, err := c.update(ctx, r.Value.Cluster, r.Value.ID, []store.Cond{lead.Guard()}, func(m topology.Member) (topology.Member, error) {
			if m.State == topology.Terminating || m.State == topology.Terminated {
				return m, nil
			}
			return c.to(m, topology.Terminating, "the platform was shut down", c.clock.now(), time.Time{})
		})
		if err != nil && !errors.Is(err, ErrGone) {
			return err
		}
	}
	for _, a := range c.Accounts {
		if err := endAll(ctx, a, cloud.Owner(id.UUID)); err != nil {
			return err
		}
	}
	return nil
}

// endAll tells a cloud to end every instance of ours until it has none, or
// shows only ended ones that were told.
func endAll(ctx context.Context, a *cloud.Account, owner cloud.Owner) error {
	told := map[cloud.InstanceID]bool{}
	for {
		all, err := a.List(ctx, owner)
		if err != nil {
			return err
		}
		left := 0
		for _, i := range all {
			if i.State == cloud.Gone && told[i.ID] {
				continue
			}
			left++
			if err := a.Terminate(ctx, i.ID); err != nil {
				return err
			}
			told[i.ID] = i.State == cloud.Gone
		}
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(listEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
