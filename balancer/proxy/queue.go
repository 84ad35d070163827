package proxy

import (
	"context"
	"errors"
	"time"
)

// What keeps a request from getting a target.
var (
	errUnlisted  = errors.New("the cluster left the table")
	errVacant    = errors.New("no release of it can be served yet")
	errQueueFull = errors.New("no member serves, and too many requests wait already")
	errQueueTime = errors.New("no member serves")
)

// limits bound how many requests of a cluster wait for a target, and how long.
type limits struct {
	length int // 0 or less: nobody waits
	time   time.Duration
}

// take gives an arriving request a target, counted on it, and waits for one
// within the limits. errUnlisted: look at the new table; errVacant,
// errQueueFull, errQueueTime: counted as an error; else the error of ctx.
func (c *cluster) take(ctx context.Context, port string, l limits) (*target, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.listed {
		return nil, "", errUnlisted
	}
	c.arrivals++
	now := time.Now()
	if t, address := c.enter(port, now); t != nil {
		return t, address, nil
	}
	if c.vacant {
		c.errors++
		return nil, "", errVacant
	}
	if c.queued.n >= l.length {
		c.errors++
		return nil, "", errQueueFull
	}
	c.queued.add(1, now)
	t, address, err := c.wait(ctx, port, l.time)
	if errors.Is(err, errQueueTime) {
		c.errors++
	}
	return t, address, err
}

// enter picks a target and counts the request on it; the lock is held.
func (c *cluster) enter(port string, now time.Time) (*target, string) {
	t, address := c.pick(port, nil, now)
	if t != nil {
		t.inFlight++
		c.inFlight.add(1, now)
	}
	return t, address
}

// wait holds a request that is counted as queued until a target appears. It
// is called, and returns, with the lock held, and gives it up in between. The
// request leaves the queue and enters its target in one step.
func (c *cluster) wait(ctx context.Context, port string, d time.Duration) (*target, string, error) {
	late := time.NewTimer(d)
	defer late.Stop()
	var over error
	for {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-late.C:
			over = errQueueTime
		case <-ctx.Done():
			over = ctx.Err()
		}
		c.mu.Lock()
		now := time.Now()
		if !c.listed {
			over = errUnlisted
		}
		if over == nil {
			if t, address := c.enter(port, now); t != nil {
				c.queued.add(-1, now)
				return t, address, nil
			}
			continue
		}
		c.queued.add(-1, now)
		return nil, "", over
	}
}
