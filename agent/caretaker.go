package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// duty is what there is to do beside the runtime that serves.
type duty struct {
	live *running // nil: none is healthy, or it has no service
	kept string   // the file that says who was let in
	// bindings and job are what the topology says: names, "" for none.
	bindings, job string
}

// bound is what the service of a runtime knows.
type bound struct {
	live   *running
	id     string // of the list of bindings
	reason string // why the newest list could not be made known to it
}

// Pauses of a caretaker: after something that did not work, and between two
// questions for a job that the topology names but that is another member's.
const (
	firstCare = 250 * time.Millisecond
	lastCare  = 30 * time.Second
	jobPoll   = 30 * time.Second
)

// caretaker runs the actions of the service that serves, one after the other:
// it lets dependents in and out, and does jobs.
type caretaker struct {
	control *control
	duties  <-chan duty // the newest one
	bounds  chan bound  // the newest one
	gone    func()
	log     *slog.Logger

	// Of the run loop.
	duty  duty
	bound bound
	did   string // the last job that needs nothing any more
	owed  *verdictOfJob
}

// Run works until ctx ends.
func (c *caretaker) Run(ctx context.Context) {
	wait := backoff{First: firstCare, Max: lastCare}
	var again <-chan time.Time
	for {
		select {
		case c.duty = <-c.duties:
			wait.Reset()
		case <-again:
		case <-ctx.Done():
			return
		}
		again = nil
		if c.duty.live == nil {
			continue
		}
		err := errors.Join(c.bind(ctx), c.work(ctx))
		switch {
		case ctx.Err() != nil:
			return
		case answered(err, http.StatusGone):
			c.gone()
			return
		case err != nil:
			c.log.Warn("taking care of the service, trying again", "err", err)
			again = time.After(wait.Next())
		case c.duty.job != "" && c.duty.job != c.did:
			again = time.After(jobPoll)
		}
	}
}

// get asks the control plane; the answer is nil if it has nothing to say.
func get[T any](ctx context.Context, c *control, path string) (*T, error) {
	var answer *T
	err := c.call(ctx, c.http, http.MethodGet, path, nil, &answer)
	if answered(err, http.StatusNotFound) {
		return nil, nil
	}
	return answer, err
}

// say tells how the bindings are now.
func (c *caretaker) say(b bound) {
	c.bound = b
	replace(c.bounds, b)
}

// bind makes the list of bindings known to the service, unless it knows it.
func (c *caretaker) bind(ctx context.Context) error {
	d := c.duty
	knows := c.bound.live == d.live && c.bound.reason == ""
	if knows && c.bound.id == d.bindings {
		return nil
	}
	list, err := get[wire.Bindings](ctx, c.control, wire.BindingsPath)
	switch {
	case err != nil:
		return err
	case list == nil && d.bindings == "":
		c.say(bound{live: d.live})
		return nil
	case list == nil:
		return errors.New("the control plane has no list of bindings, although the topology names one")
	}
	if !knows || c.bound.id != list.ID {
		if err := c.apply(ctx, *list); err != nil {
			return err
		}
	}
	if list.ID != d.bindings {
		return errors.New("the list of bindings and the topology are of different times")
	}
	return nil
}
