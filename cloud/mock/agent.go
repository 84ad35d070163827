package mock

import (
	"context"
	"time"

	"github.com/gostratos/stratos/cloud"
)

// Run calls [Cloud.Agent] for every instance that has come to run, one at a
// time and in the order in which they boot, until ctx ends: a success. The
// hook plays the agent's part: it joins and reports, with the join token that
// it finds in the user-data. Who calls Launch only does not need Run.
func (c *Cloud) Run(ctx context.Context) error {
	for {
		c.mu.Lock()
		c.begin()
		due, next := c.due(time.Now())
		changed := c.changed
		c.mu.Unlock()
		for _, i := range due {
			if ctx.Err() != nil {
				return nil
			}
			if c.Agent != nil {
				c.Agent(ctx, i.answer(time.Now()), i.spec.UserData)
			}
		}
		if !wait(ctx, changed, next) {
			return nil
		}
	}
}

// wait waits for a change, or until next if there is one, and reports false
// when ctx has ended.
func wait(ctx context.Context, changed <-chan struct{}, next time.Time) bool {
	var timeout <-chan time.Time
	if !next.IsZero() {
		timeout = time.After(time.Until(next))
	}
	select {
	case <-changed:
	case <-timeout:
	case <-ctx.Done():
		return false
	}
	return true
}

// due takes the instances that run and whose agent was not called yet, and
// says when the next one will; c.mu is held.
func (c *Cloud) due(now time.Time) (due []*instance, next time.Time) {
	for _, i := range c.all {
		switch {
		case i.told || i.fails || !i.ended.IsZero():
		case i.state(now) == cloud.Running:
			i.told = true
			due = append(due, i)
		case next.IsZero() || i.runs.Before(next):
			next = i.runs
		}
	}
	return due, next
}
