package artifact

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gostratos/stratos/store"
)

// firstRetry is how long the first failure is waited after.
const firstRetry = 2 * time.Second

// worker looks after one key: all that happens to it, happens in turn.
type worker struct {
	*run
	key  Key
	wake chan struct{} // of one

	// guarded by the coordinator's mutex: what the present round is about
	wish   Wish
	wished bool
	cancel context.CancelFunc
}

// poke makes the worker begin a new round after the present one.
func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it will anyway
	}
}

// interrupt ends the present round, which is about something else by now; the
// mutex is held.
func (w *worker) interrupt() {
	if w.cancel != nil {
		w.cancel()
	}
	w.poke()
}

// work goes round until ctx ends, or until there is nothing to look after.
func (w *worker) work(ctx context.Context) error {
	for failures := 0; ; {
		round, wish, wished, calls := w.next(ctx)
		ok, err := w.round(round, wish, wished, calls)
		var fenced *store.FencedError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &fenced):
			return err
		case round.Err() != nil:
			continue // the wish is another one now
		case ok && !wished:
			if w.retire() {
				return nil
			}
			continue
		case ok:
			failures = 0
		default:
			failures++
		}
		if !w.rest(ctx, failures) {
			return ctx.Err()
		}
	}
}

// next begins a round: what it is about, and who waits for it.
func (w *worker) next(ctx context.Context) (round context.Context, wish Wish, wished bool, calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel() // of the former round, which is over
	}
	round, w.cancel = context.WithCancel(ctx)
	w.wish, w.wished = w.wishes[w.key]
	calls = w.calls[w.key]
	delete(w.calls, w.key)
	return round, w.wish, w.wished, calls
}

// round does what there is to do once, and reports whether it need not be
// tried again soon.
func (w *worker) round(ctx context.Context, wish Wish, wished bool, calls []*call) (ok bool, err error) {
	if !wished {
		answer(calls, Repository{}, unknownKey(w.key))
		if err := w.remove(ctx, w.key); err != nil {
			w.log().Warn("removing a repository's records failed; trying again", "key", w.key, "error", err)
			return false, err
		}
		return true, nil
	}
	repo, err := w.look(ctx, w.key, wish)
	if ctx.Err() != nil {
		w.hold(calls)
		return false, ctx.Err()
	}
	if err != nil {
		w.log().Error("recording a release failed; trying again", "key", w.key, "error", err)
	}
	answer(calls, repo, err)
	if wish.URL == Hosted && err == nil {
		if terr := w.tidy(ctx, w.key); terr != nil && ctx.Err() == nil {
			w.log().Warn("making one pack of many failed; trying again", "key", w.key, "error", terr)
		}
	}
	return err == nil && (repo.Error == "" || repo.Problem == RepoEmpty), err
}

// hold gives calls back that a round could not answer.
func (w *worker) hold(calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	if _, ok := w.wishes[w.key]; !ok {
		answer(calls, Repository{}, unknownKey(w.key))
		return
	}
	if w.calls == nil {
		w.calls = map[Key][]*call{}
	}
	w.calls[w.key] = append(calls, w.calls[w.key]...)
}

// retire ends the worker, unless it is needed again.
func (w *worker) retire() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.wishes[w.key]; ok {
		return false
	}
	delete(w.workers, w.key)
	w.cancel()
	return true
}

// rest waits for the next round's time; false if ctx ended.
func (w *worker) rest(ctx context.Context, failures int) bool {
	poll := cmp.Or(w.Poll, DefaultPoll)
	timer := time.NewTimer(pause(poll, failures))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-w.wake:
	case <-timer.C:
	}
	return true
}

// pause is how long to wait after so many failures in a row, with jitter.
func pause(poll time.Duration, failures int) time.Duration {
	d := poll
	if failures > 0 {
		d = min(firstRetry<<min(failures-1, 20), 5*poll)
	}
	const fifth = 5
	spread := d / fifth
	return d - spread + rand.N(2*spread+1)
}

// retry calls do until it succeeds or ctx ends.
func retry(ctx context.Context, do func() error) error {
	for failures := 1; ; failures++ {
		if do() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause(DefaultPoll, failures)):
		}
	}
}
