package store

import (
	"context"
	"errors"
)

// Follow hands all records below prefix to f, as one whole batch, and then
// every later transaction that touches prefix, with progress marks, until ctx
// ends, which is a success. When its place in the history is lost it begins
// again with another whole batch: f forgets what it knew. An error of f, or of
// the store, ends it.
func Follow(ctx context.Context, s Store, prefix string, f func(b Batch, whole bool) error) error {
	for {
		err := follow(ctx, s, prefix, f)
		var slow *SlowError
		var compacted *CompactedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &slow), errors.As(err, &compacted):
			continue
		default:
			return err
		}
	}
}

func follow(ctx context.Context, s Store, prefix string, f func(b Batch, whole bool) error) error {
	page, err := s.List(ctx, prefix, ReadOptions{})
	if err != nil {
		return err
	}
	w, err := s.Watch(ctx, prefix, page.Rev)
	if err != nil {
		return err
	}
	defer w.Close()
	all := Batch{Rev: page.Rev, Events: make([]Event, len(page.KVs))}
	for i, kv := range page.KVs {
		all.Events[i] = Event{KV: kv}
	}
	if err := f(all, true); err != nil {
		return err
	}
	for {
		b, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if err := f(b, false); err != nil {
			return err
		}
	}
}
