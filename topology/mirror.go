package topology

import (
	"context"
	"errors"

	"github.com/gostratos/stratos/store"
)

// Mirror follows a store and folds its topology into views: one engine watch,
// however many readers. It is a [Source].
type Mirror struct {
	Store store.Store

	latest Latest
}

var _ Source = (*Mirror)(nil)

// Run follows the store until ctx ends; it starts again from a full reading
// whenever its place in the history is lost. A record that cannot be read ends
// it with an error that names the key: a topology with a hole is worse than none.
func (m *Mirror) Run(ctx context.Context) error {
	for {
		err := m.follow(ctx)
		var slow *store.SlowError
		var compacted *store.CompactedError
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

// Next implements [Source].
func (m *Mirror) Next(ctx context.Context, after store.Revision) (*View, error) {
	return m.latest.Next(ctx, after)
}

func (m *Mirror) follow(ctx context.Context) error {
	page, err := m.Store.List(ctx, "", store.ReadOptions{})
	if err != nil {
		return err
	}
	events := make([]store.Event, len(page.KVs))
	for i, kv := range page.KVs {
		events[i] = store.Event{KV: kv}
	}
	v, err := (&View{}).With(page.Rev, events)
	if err != nil {
		return err
	}
	m.latest.Set(v)
	w, err := m.Store.Watch(ctx, "", page.Rev)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		b, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if v, err = v.With(b.Rev, b.Events); err != nil {
			return err
		}
		m.latest.Set(v)
	}
}
