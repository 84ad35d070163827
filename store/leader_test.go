package store_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

const ttl = 9 * time.Second

// inFakeTime runs f with the reference store; time passes when everybody waits.
func inFakeTime(t *testing.T, f func(t *testing.T, s store.Store)) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New()
		f(t, s)
		require.NoError(t, s.Close())
	})
}

func lead(t *testing.T, ctx context.Context, s store.Store, id string) *store.Leadership {
	t.Helper()
	l, err := store.Campaign(ctx, s, "x", id, ttl)
	require.NoError(t, err)
	return l
}

func write(s store.Store, guard store.Cond) error {
	_, err := s.Commit(context.Background(), store.Txn{If: []store.Cond{guard}, Then: []store.Op{{Key: "a", Value: []byte("1")}}})
	return err
}

// campaign runs for leadership in the background.
func campaign(ctx context.Context, s store.Store, id string) <-chan *store.Leadership {
	won := make(chan *store.Leadership, 1)
	go func() {
		if l, err := store.Campaign(ctx, s, "x", id, ttl); err == nil {
			won <- l
		}
		close(won)
	}()
	return won
}

func TestCampaignWaitsForTheOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		first := lead(t, t.Context(), s, "first")
		won := campaign(t.Context(), s, "second")
		<-time.After(time.Hour)
		select {
		case <-won:
			require.Fail(t, "two leaders")
		default:
		}
		require.NoError(t, first.Context().Err(), "a leader that is alive leads on")

		start := time.Now()
		require.NoError(t, first.Resign(t.Context()))
		second := <-won
		require.NotNil(t, second)
		require.Equal(t, start, time.Now(), "the next one leads at once")
		require.Greater(t, second.Epoch(), first.Epoch())
		require.Error(t, first.Context().Err())
		require.NoError(t, second.Resign(t.Context()))
	})
}

func TestCampaignTakesOverItsOwnID(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		old := lead(t, t.Context(), s, "me")
		start := time.Now()
		l := lead(t, t.Context(), s, "me")
		require.Equal(t, start, time.Now(), "at once")
		require.Greater(t, l.Epoch(), old.Epoch())
		var fenced *store.FencedError
		require.ErrorAs(t, write(s, old.Guard()), &fenced)

		// The end of the old one does not depose the new one.
		require.NoError(t, old.Resign(t.Context()))
		require.NoError(t, write(s, l.Guard()))
		require.NoError(t, l.Resign(t.Context()))
	})
}

func TestGuardFences(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		l := lead(t, t.Context(), s, "one")
		require.NoError(t, write(s, l.Guard()))
		require.NoError(t, l.Resign(t.Context()))
		var fenced *store.FencedError
		require.ErrorAs(t, write(s, l.Guard()), &fenced, "nobody leads")
		next := lead(t, t.Context(), s, "two")
		require.ErrorAs(t, write(s, l.Guard()), &fenced, "another leads")
		require.NoError(t, write(s, next.Guard()))
		require.NoError(t, next.Resign(t.Context()))
	})
}

// stalled is a store whose leases are no longer renewed, and say nothing about it.
type stalled struct{ store.Store }

func (s stalled) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	once, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := s.Store.Grant(once, ttl)
	return silent{l}, err
}

type silent struct{ store.Lease }

func (silent) Done() <-chan struct{} { return nil }

func TestContextEndsBeforeTheLease(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		start := time.Now()
		l := lead(t, t.Context(), stalled{s}, "me")
		<-l.Context().Done()
		require.Equal(t, ttl*2/3, time.Since(start))
		require.NoError(t, write(s, l.Guard()), "the lease has not ended yet")

		won := lead(t, t.Context(), s, "other")
		require.GreaterOrEqual(t, time.Since(start), ttl)
		require.NoError(t, won.Resign(t.Context()))
		require.NoError(t, l.Resign(t.Context()))
	})
}

func TestLeadershipEndsWithItsCampaign(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		l := lead(t, ctx, s, "me")
		cancel()
		<-l.Context().Done()
		require.NoError(t, l.Resign(t.Context()))
	})
}

func TestCampaignGivesUp(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		first := lead(t, t.Context(), s, "first")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := store.Campaign(ctx, s, "x", "second", ttl)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "campaign for x")

		require.NoError(t, s.Close())
		_, err = store.Campaign(t.Context(), s, "x", "second", ttl)
		require.ErrorIs(t, err, store.ErrClosed)
		<-first.Context().Done()
	})
}

// doubtful is a store that applies every first transaction of a key but does not know it.
type doubtful struct {
	store.Store
	doubted *bool
}

func (s doubtful) Commit(ctx context.Context, x store.Txn) (store.Revision, error) {
	rev, err := s.Store.Commit(ctx, x)
	if err == nil && !*s.doubted {
		*s.doubted = true
		return 0, &store.UnknownError{Err: context.DeadlineExceeded}
	}
	return rev, err
}

func TestCampaignLooksAgainWhenInDoubt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s store.Store) {
		l := lead(t, t.Context(), doubtful{s, new(bool)}, "me")
		require.NoError(t, write(s, l.Guard()))
		kv, _, err := s.Get(t.Context(), store.LeaderPrefix+"x", store.ReadOptions{})
		require.NoError(t, err)
		require.Equal(t, l.Epoch(), kv.Create)
		require.NoError(t, l.Resign(t.Context()))
	})
}
