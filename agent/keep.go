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

// keep keeps a healthy runtime up, in place, until ctx ends: then it is stopped.
func (s *slot) keep(ctx context.Context, r *running, well func(*running), say func(eventKind, string)) {
	wait := backoff{First: firstRestart, Max: lastRestart, Eager: true}
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
			wait.Reset()
		}
		r = s.again(ctx, lost, &wait, say)
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
func (s *slot) again(ctx context.Context, lost error, wait *backoff, say func(eventKind, string)) *running {
	for {
		s.say("%v: starting again", lost)
		say(slotDown, lost.Error())
		if !wait.Pause(ctx) {
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
