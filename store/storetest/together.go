package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// rounds is how often each caller calls before the store is closed under it.
const rounds = 15

// methodsMayBeCalledTogether calls everything at the same time, while one
// watcher waits and another is always told something, and closes the store
// under the callers. With -race, it finds what is not guarded.
func methodsMayBeCalledTogether(t TB, s store.Store) {
	ctx := within(t)
	rev := commit(t, s, put("t/a", "start"))
	var g errgroup.Group
	for _, prefix := range []string{"quiet/", "t/"} {
		w := watch(t, s, prefix, rev)
		g.Go(func() error { return untilClosed(func() error { _, err := w.Next(ctx); return err }) })
	}
	calls := []func(n int) error{
		func(int) error { _, err := s.ID(ctx); return err },
		func(int) error { _, _, err := s.Get(ctx, "t/a", store.ReadOptions{}); return err },
		func(int) error { _, err := s.List(ctx, "t/", store.ReadOptions{}); return err },
		func(n int) error { _, err := s.Commit(ctx, txn(put("t/a", fmt.Sprint(n)))); return err },
		func(n int) error { _, err := s.Commit(ctx, txn(put("t/b", fmt.Sprint(n)))); return err },
		func(int) error { return watchOnce(ctx, s) },
		func(int) error { return leaseOnce(ctx, s) },
		func(int) error { return s.Compact(ctx, rev) },
	}
	called := make(chan error, len(calls))
	closing := make(chan struct{})
	for _, call := range calls {
		g.Go(func() error {
			var err error
			for n := 0; n < rounds && err == nil; n++ {
				err = call(n)
			}
			called <- err
			<-closing
			return untilClosed(func() error { return call(rounds) })
		})
	}
	var failed error
	for range calls {
		failed = errors.Join(failed, <-called)
	}
	close(closing)
	g.Go(s.Close)
	g.Go(s.Close)
	require.NoError(t, errors.Join(failed, g.Wait()))
}

// untilClosed calls again and again. What was under way may be unknown.
func untilClosed(call func() error) error {
	for {
		err := call()
		var unknown *store.UnknownError
		switch {
		case errors.Is(err, store.ErrClosed), errors.As(err, &unknown):
			return nil
		case err != nil:
			return err
		}
	}
}

// watchOnce watches a change of its own.
func watchOnce(ctx context.Context, s store.Store) error {
	page, err := s.List(ctx, "t/", store.ReadOptions{})
	if err != nil {
		return err
	}
	w, err := s.Watch(ctx, "t/", page.Rev)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := s.Commit(ctx, txn(put("t/c", ""))); err != nil {
		return err
	}
	_, err = w.Next(ctx)
	return err
}

// leaseOnce grants a lease, uses it, and revokes it.
func leaseOnce(ctx context.Context, s store.Store) error {
	l, err := s.Grant(ctx, patience)
	if err != nil {
		return err
	}
	if _, err := s.Commit(ctx, txn(leased("lease", l))); err != nil {
		return err
	}
	return l.Revoke(ctx)
}
