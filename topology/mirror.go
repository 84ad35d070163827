package topology

import (
	"context"

	"github.com/gostratos/stratos/store"
)

// Mirror follows a store and folds its topology into views: one engine watch,
// however many readers. It is a [Source].
type Mirror struct {
	Store store.Store

	latest Latest
}

var _ Source = (*Mirror)(nil)

// Run follows the store until ctx ends. A record that cannot be read ends it
// with an error that names the key: a topology with a hole is worse than none.
func (m *Mirror) Run(ctx context.Context) error {
	v := &View{}
	return store.Follow(ctx, m.Store, "", func(b store.Batch, whole bool) (err error) {
		if whole {
			v, err = v.Whole(b.Rev, b.Events)
		} else {
			v, err = v.With(b.Rev, b.Events)
		}
		if err == nil {
			m.latest.Set(v)
		}
		return err
	})
}

// Next implements [Source].
func (m *Mirror) Next(ctx context.Context, after store.Revision) (*View, error) {
	return m.latest.Next(ctx, after)
}
