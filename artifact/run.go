package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// fetches is how many repositories are looked at or fetched from at a time.
const fetches = 8

// run is what one Run has of its own.
type run struct {
	*Coordinator
	ctx   context.Context // ends with it, for what others ask of it
	guard store.Cond
	group *errgroup.Group

	fetching   chan struct{} // a place for each who looks or fetches
	building   chan struct{} // a place for each who builds
	publishing chan struct{} // one place: blobs are stored, or swept, never both
	sweep      chan struct{} // of one: there may be something to sweep
}

// Run does the work until ctx or the leadership ends; then it returns nil, and
// nothing of it is running any more. It begins with the first Set. A write
// that somebody else's leadership fenced off is an error: stop leading.
func (c *Coordinator) Run(ctx context.Context, lead *store.Leadership) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	defer c.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lead.Context(), cancel)()

	group, gctx := errgroup.WithContext(ctx)
	r := &run{
		Coordinator: c,
		ctx:         gctx,
		guard:       lead.Guard(),
		group:       group,
		fetching:    make(chan struct{}, fetches),
		building:    make(chan struct{}, max(cmp.Or(c.Builds, DefaultBuilds), 1)),
		publishing:  make(chan struct{}, 1),
		sweep:       make(chan struct{}, 1),
	}
	c.mu.Lock()
	c.run = r
	c.mu.Unlock()
	group.Go(func() error { return r.dispatch(gctx) })
	group.Go(func() error { return r.sweepLoop(gctx) })
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// begin takes the folder over: what is in its temporary part was left by a
// run that was killed.
func (c *Coordinator) begin() error {
	c.mu.Lock()
	busy := c.running
	c.running = true
	c.mu.Unlock()
	if busy {
		return errors.New("artifact coordinator: it is running already")
	}
	err := removeTree(c.tmp())
	if err == nil {
		// Builds may run under a user of their own, who has to get through here.
		err = os.MkdirAll(c.tmp(), 0o711)
	}
	if err != nil {
		c.end()
		return fmt.Errorf("artifact coordinator: clean up: %w", err)
	}
	return nil
}

func (c *Coordinator) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.workers, c.run = false, nil, nil
}

// dispatch keeps a worker for every wish, and for everything that was left by
// former wishes.
func (r *run) dispatch(ctx context.Context) error {
	if err := r.awaitWishes(ctx); err != nil {
		return err
	}
	var left []Key
	err := retry(ctx, func() (err error) {
		left, err = r.leftovers(ctx)
		if err != nil {
			r.log().Warn("reading what was recorded failed; trying again", "error", err)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.wakeSweep()
	for {
		changed := r.employ(ctx, left)
		left = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// awaitWishes waits for the first Set: without it every record would look left over.
func (r *run) awaitWishes(ctx context.Context) error {
	for {
		r.mu.Lock()
		given, changed := r.given, r.waiter()
		r.mu.Unlock()
		if given {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// waiter returns the channel that the next Set closes; c.mu is held.
func (c *Coordinator) waiter() <-chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// employ starts the workers that are missing, and returns what the next Set closes.
func (r *run) employ(ctx context.Context, also []Key) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.workers == nil {
		r.workers = map[Key]*worker{}
	}
	keys := map[Key]bool{}
	for k := range r.wishes {
		keys[k] = true
	}
	for _, k := range also {
		keys[k] = true
	}
	for k := range keys {
		if r.workers[k] == nil {
			w := &worker{run: r, key: k, wake: make(chan struct{}, 1)}
			r.workers[k] = w
			r.group.Go(func() error { return w.work(ctx) })
		}
	}
	return r.waiter()
}

// enter takes a place, and returns what gives it back.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
