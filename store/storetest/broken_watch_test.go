package storetest_test

import (
	"context"
	"errors"
	"time"

	"github.com/gostratos/stratos/store"
)

// nexter makes the Next of a watcher with a mutation.
type nexter = func(store.Watcher) func(context.Context) (store.Batch, error)

// eachEvent changes what is told of events.
func eachEvent(f func(*store.Event)) nexter {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		return func(ctx context.Context) (store.Batch, error) {
			b, err := w.Next(ctx)
			some := make([]store.Event, len(b.Events))
			copy(some, b.Events)
			for i := range some {
				f(&some[i])
			}
			b.Events = some
			return b, err
		}
	}
}

// markFirst tells the progress up to a batch before the batch.
func markFirst(w store.Watcher) func(context.Context) (store.Batch, error) {
	var held *store.Batch
	return func(ctx context.Context) (store.Batch, error) {
		if held != nil {
			b := *held
			held = nil
			return b, nil
		}
		b, err := w.Next(ctx)
		if err != nil || len(b.Events) == 0 {
			return b, err
		}
		held = &b
		return store.Batch{Rev: b.Rev}, nil
	}
}

// seldom leaves out three marks of four.
func seldom(w store.Watcher) func(context.Context) (store.Batch, error) {
	marks := 0
	return func(ctx context.Context) (store.Batch, error) {
		for {
			b, err := w.Next(ctx)
			if err != nil || len(b.Events) > 0 {
				return b, err
			}
			if marks++; marks%4 == 0 {
				return b, nil
			}
		}
	}
}

// waitsOn goes on waiting when it is given up, and drops what comes then.
func waitsOn(w store.Watcher) func(context.Context) (store.Batch, error) {
	type result struct {
		b   store.Batch
		err error
	}
	turn := make(chan struct{}, 1)
	return func(ctx context.Context) (store.Batch, error) {
		if ctx.Err() != nil {
			return store.Batch{}, ctx.Err()
		}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return store.Batch{}, ctx.Err()
		}
		got := make(chan result, 1)
		go func() {
			defer func() { <-turn }()
			b, err := w.Next(context.WithoutCancel(ctx))
			got <- result{b, err}
		}()
		select {
		case r := <-got:
			return r.b, r.err
		case <-ctx.Done():
			return store.Batch{}, ctx.Err()
		}
	}
}

// neverClosed waits when the watcher has ended.
func neverClosed(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		b, err := w.Next(ctx)
		if errors.Is(err, store.ErrClosed) {
			<-ctx.Done()
			err = ctx.Err()
		}
		return b, err
	}
}

// slowLater tells a slow reader a place that it has not reached.
func slowLater(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		b, err := w.Next(ctx)
		var slow *store.SlowError
		if errors.As(err, &slow) {
			err = &store.SlowError{Last: slow.Last + 1}
		}
		return b, err
	}
}

// slowAgainAndAgain tells a slow reader more than once.
func slowAgainAndAgain(w store.Watcher) func(context.Context) (store.Batch, error) {
	var told error
	return func(ctx context.Context) (store.Batch, error) {
		if told != nil {
			return store.Batch{}, told
		}
		b, err := w.Next(ctx)
		var slow *store.SlowError
		if errors.As(err, &slow) {
			told = err
		}
		return b, err
	}
}

// handsOutLeftovers gives the newest commit, if it was not read, to a reader
// of a watcher that is closed.
func handsOutLeftovers(b *broken) {
	var newest store.Batch
	b.apply = func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
		rev, err := s.Commit(ctx, x)
		if err == nil {
			newest = store.Batch{Rev: rev, Events: []store.Event{{KV: store.KV{Key: x.Then[0].Key}}}}
		}
		return rev, err
	}
	b.next = func(w store.Watcher) func(context.Context) (store.Batch, error) {
		return func(ctx context.Context) (store.Batch, error) {
			got, err := w.Next(ctx)
			if errors.Is(err, store.ErrClosed) && newest.Rev != 0 {
				got, err, newest = newest, nil, store.Batch{}
			}
			return got, err
		}
	}
}

// nextHoldsUpWriters lets one go on after the other.
func nextHoldsUpWriters(b *broken) {
	turn := make(chan struct{}, 1)
	take := func(ctx context.Context) error {
		select {
		case turn <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.apply = func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
		if err := take(ctx); err != nil {
			return 0, err
		}
		defer func() { <-turn }()
		return s.Commit(ctx, x)
	}
	b.next = func(w store.Watcher) func(context.Context) (store.Batch, error) {
		return func(ctx context.Context) (store.Batch, error) {
			if err := take(ctx); err != nil {
				return store.Batch{}, err
			}
			defer func() { <-turn }()
			return w.Next(ctx)
		}
	}
}

// slowReaderHoldsUpWriters lets nobody write who is far ahead of a reader.
func slowReaderHoldsUpWriters(b *broken) {
	ahead := make(chan struct{}, 1000)
	b.apply = func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
		select {
		case ahead <- struct{}{}:
			return s.Commit(ctx, x)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	b.next = func(w store.Watcher) func(context.Context) (store.Batch, error) {
		return func(ctx context.Context) (store.Batch, error) {
			got, err := w.Next(ctx)
			for range got.Events {
				select {
				case <-ahead:
				default:
				}
			}
			return got, err
		}
	}
}

func splitBatches() func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		var rest store.Batch
		return func(ctx context.Context) (store.Batch, error) {
			b := rest
			if len(b.Events) == 0 {
				var err error
				if b, err = w.Next(ctx); err != nil {
					return b, err
				}
			}
			n := min(1, len(b.Events))
			rest = store.Batch{Rev: b.Rev, Events: b.Events[n:]}
			return store.Batch{Rev: b.Rev, Events: b.Events[:n]}, nil
		}
	}
}

func dropEvery(n int) func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		i := 0
		return func(ctx context.Context) (store.Batch, error) {
			if i++; i%n == 0 {
				if b, err := w.Next(ctx); err != nil {
					return b, err
				}
			}
			return w.Next(ctx)
		}
	}
}

func repeatEvery(n int) func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		i := 0
		var last store.Batch
		return func(ctx context.Context) (b store.Batch, err error) {
			if i++; i%n == 0 {
				return last, nil
			}
			last, err = w.Next(ctx)
			return last, err
		}
	}
}

func silent(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		for {
			if b, err := w.Next(ctx); err != nil || len(b.Events) > 0 {
				return b, err
			}
		}
	}
}

func progressAhead(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		b, err := w.Next(ctx)
		if len(b.Events) == 0 {
			b.Rev += 100
		}
		return b, err
	}
}

// eager takes the next batch, and then looks whether anybody still wants it.
func eager(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Millisecond)
		defer cancel()
		if ctx.Err() == nil {
			return w.Next(ctx)
		}
		if _, err := w.Next(wait); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return store.Batch{}, err
		}
		return store.Batch{}, ctx.Err()
	}
}
