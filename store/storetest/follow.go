package storetest

import (
	"context"
	"errors"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

func followPromises() []Promise {
	return []Promise{{"FollowTellsAllUntilTheEnd", followTellsAllUntilTheEnd}}
}

// followTellsAllUntilTheEnd: first what there is, whole, then every change,
// then how it ended.
func followTellsAllUntilTheEnd(t TB, s store.Store) {
	start := commit(t, s, put("f/a", "1"), put("f/b", "1"), put("other", "1"))
	told := make(chan store.Batch)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var following errgroup.Group
	following.Go(func() error {
		wholes := 0
		return store.Follow(ctx, s, "f/", func(b store.Batch, whole bool) error {
			if whole {
				wholes++
			}
			if wholes != 1 {
				return errors.New("not one whole batch, the first")
			}
			if len(b.Events) == 0 {
				return nil
			}
			select {
			case told <- b:
			case <-ctx.Done():
			}
			return nil
		})
	})
	take := func(rev store.Revision, want map[string]string) {
		t.Helper()
		select {
		case b := <-told:
			require.Equal(t, rev, b.Rev)
			require.Equal(t, want, eventContents(b.Events))
		case <-ctx.Done():
			require.Fail(t, "nothing is told")
		}
	}
	take(start, map[string]string{"f/a": "1", "f/b": "1"})
	take(commit(t, s, put("f/a", "2"), del("f/b"), put("other", "2")), map[string]string{"f/a": "2", "f/b": ""})
	commit(t, s, put("other", "3"))
	take(commit(t, s, put("f/c", "3")), map[string]string{"f/c": "3"})
	require.NoError(t, s.Close())
	require.ErrorIs(t, following.Wait(), store.ErrClosed)
}
