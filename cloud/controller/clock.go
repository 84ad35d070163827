package controller

import (
	"sync"
	"time"
)

// clock is steady: the wall clock's time when it was started, and the time
// that passed since on the monotonic clock. A wall clock that is set forward
// or back in between neither expires a deadline nor settles an outcome early.
// Its zero value starts at its first use.
type clock struct {
	wall    func() time.Time                    // default time.Now
	elapsed func(start time.Time) time.Duration // default time.Since

	mu    sync.Mutex
	start time.Time
}

// now is the steady time. It has no monotonic reading: it compares with what
// was recorded as with itself.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.start.IsZero() {
		c.begin()
	}
	if c.elapsed != nil {
		return c.start.Add(c.elapsed(c.start))
	}
	return c.start.Add(time.Since(c.start)).Round(0)
}

// restart takes the wall clock's word again, as a new process would.
func (c *clock) restart() time.Time {
	c.mu.Lock()
	c.begin()
	c.mu.Unlock()
	return c.now()
}

// begin reads the wall clock; c.mu is held.
func (c *clock) begin() {
	if c.wall != nil {
		c.start = c.wall()
		return
	}
	c.start = time.Now()
}
