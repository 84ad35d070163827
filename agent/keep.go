package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Pauses before a runtime that ended starts again: none the first time, then
// doubling. One that was well for wellAfter begins anew.
const (
	firstRestart = 500 * time.Millisecond
	lastRestart  = 30 * time.Second
	wellAfter    = time.Minute
)

// A runtime that fails sickAfter checks in a row, recheck apart, is sick; one
// that stays sick for as long as it may take to start is started again.
const (
	sickAfter = 3
	recheck   = time.Second
)

// crashLoop is how many ends in a row are more than bad luck.
const crashLoop = 3

// crashes are how often a runtime ended without having been well for wellAfter
// in between.
type crashes struct {
	wait backoff
	n    int
}

// next counts one more, and says what happened and how long to wait.
func (c *crashes) next(lost error) (reason string, wait time.Duration) {
	c.n++
	wait = c.wait.Next()
	if c.n < crashLoop {
		return fmt.Sprintf("%v: starting again", lost), wait
	}
	return fmt.Sprintf("%v: it keeps ending, %d times without %v in between: starting again in %v, look at its log", lost, c.n, wellAfter, wait.Round(100*time.Millisecond)), wait
}

// keep keeps a healthy runtime up, in place, until ctx ends: then it is stopped.
func (s *slot) keep(ctx context.Context, r *running, well func(*running), say func(eventKind, string)) {
	loop := crashes{wait: backoff{First: firstRestart, Max: lastRestart, Eager: true}}
	for r != nil {
		well(r)
		since := time.Now()
		lost := s.serve(ctx, r, well, say)
		grace := s.plan.Stop.Grace
		if ctx.Err() == nil {
			s.front.point(nil)
			grace = min(grace, crashGrace)
		} else {
			s.note(s.front.stop())
		}
		how, err := r.stopAll(grace)
		s.note(err)
		if ctx.Err() != nil {
			return
		}
		if end := (*ended)(nil); errors.As(lost, &end) {
			lost = fmt.Errorf("%w: %s", lost, how[end.process])
		}
		if time.Since(since) >= wellAfter {
			loop.wait.Reset()
			loop.n = 0
		}
		r = s.again(ctx, lost, &loop, say)
	}
}

// serve watches a healthy runtime, and returns why it is none any more; nil if
// ctx ended.
func (s *slot) serve(ctx context.Context, r *running, well func(*running), say func(eventKind, string)) error {
	c := newChecker(s.plan.Health, s.ports[s.plan.Health.Port].port)
	failed := 0
	var sick time.Time // since when
	for {
		every := c.health.Every
		if failed > 0 {
			every = min(every, recheck)
		}
		select {
		case <-ctx.Done():
			return nil
		case p := <-r.ended:
			return &ended{process: p}
		case <-time.After(every):
		}
		err := c.check(ctx)
		if err == nil {
			if failed >= sickAfter {
				s.say("the app answers its health check again")
				well(r)
			}
			failed = 0
			continue
		}
		if failed++; failed == sickAfter {
			sick = time.Now()
			reason := fmt.Sprintf("the app does not pass its health check any more: %v", err)
			s.say("%s", reason)
			say(slotSick, reason)
		}
		if failed > sickAfter && time.Since(sick) > c.health.Start {
			return fmt.Errorf("the app did not pass its health check for %v: %w", c.health.Start, err)
		}
	}
}

// again starts the runtime again, until it is healthy; nil if ctx ended before.
func (s *slot) again(ctx context.Context, lost error, loop *crashes, say func(eventKind, string)) *running {
	for {
		reason, wait := loop.next(lost)
		s.say("%s", reason)
		say(slotDown, reason)
		if !pause(ctx, wait) {
			return nil
		}
		r, err := s.start(ctx)
		if err == nil {
			return r
		}
		if ctx.Err() != nil {
			return nil
		}
		lost = err
	}
}
