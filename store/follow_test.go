package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

// forgetful loses every watcher's place once, after its first batch.
type forgetful struct {
	store.Store
	lost int
}

type forgetfulWatcher struct {
	store.Watcher
	store *forgetful
	seen  int
}

func (s *forgetful) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	w, err := s.Store.Watch(ctx, prefix, after)
	return &forgetfulWatcher{Watcher: w, store: s}, err
}

func (w *forgetfulWatcher) Next(ctx context.Context) (store.Batch, error) {
	if w.seen++; w.seen > 1 && w.store.lost < 3 {
		w.store.lost++
		return store.Batch{}, &store.SlowError{}
	}
	return w.Watcher.Next(ctx)
}

func TestFollowNeverMissesAnything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &forgetful{Store: mem.New()}
	defer s.Close()
	put := func(key string) {
		_, err := s.Commit(ctx, store.Txn{Then: []store.Op{{Key: key, Value: []byte("x")}}})
		require.NoError(t, err)
	}
	put("a/0")
	put("b/0")
	known := map[string]bool{}
	wholes := 0
	done := errors.New("done")
	err := store.Follow(ctx, s, "a/", func(b store.Batch, whole bool) error {
		if whole {
			wholes++
			clear(known)
		}
		for _, e := range b.Events {
			known[e.Key] = true
		}
		if len(known) == 10 {
			return done
		}
		put(fmt.Sprintf("a/%d", len(known)))
		put(fmt.Sprintf("b/%d", len(known)))
		return nil
	})
	require.ErrorIs(t, err, done)
	require.Equal(t, 4, wholes, "the first, and one for each time its place was lost")
	require.NotContains(t, known, "b/0")

	ended, end := context.WithCancel(ctx)
	end()
	require.NoError(t, store.Follow(ended, s, "", func(store.Batch, bool) error { return nil }), "the end of ctx is a success")
}
