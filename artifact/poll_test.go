package artifact_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
)

// scripted is a source that a test moves by hand. It notes when it was asked.
type scripted struct {
	mu       sync.Mutex
	revision string
	err      error
	asked    []time.Time
}

var _ artifact.Source = (*scripted)(nil)

func (s *scripted) Resolve(context.Context, string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	return s.revision, s.err
}

func (s *scripted) Fetch(_ context.Context, revision, dir string) error {
	return os.WriteFile(filepath.Join(dir, "revision"), []byte(revision), 0o644)
}

func (s *scripted) set(revision string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision, s.err = revision, err
}

// times returns how long after start the source was asked, and forgets it.
func (s *scripted) times(start time.Time) (all []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.asked {
		all = append(all, at.Sub(start))
	}
	s.asked = nil
	return all
}

// polled runs a coordinator on src, in a bubble.
func polled(t *testing.T, test func(b *bench, src *scripted)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := &scripted{revision: strings.Repeat("a", 40)}
		b.Poll = time.Minute
		b.Open = func(artifact.Key, artifact.Wish) artifact.Source { return src }
		b.Set(map[artifact.Key]artifact.Wish{shop: {URL: "https://example.org/x"}})
		stop := b.start("a")
		synctest.Wait()
		test(b, src)
		stop()
	})
}

func TestPollFindsNewHeads(t *testing.T) {
	polled(t, func(b *bench, src *scripted) {
		require.Equal(t, src.revision, b.repository().Value.Head)
		next := strings.Repeat("b", 40)
		src.set(next, nil)
		time.Sleep(73 * time.Second) // of the bubble: one poll, and a fifth more
		synctest.Wait()
		require.Equal(t, next, b.repository().Value.Head)
		require.Equal(t, artifact.Built, b.release(next).State)
	})
}

func TestPollsAreSpread(t *testing.T) {
	polled(t, func(_ *bench, src *scripted) {
		start := time.Now()
		src.times(start)
		time.Sleep(time.Hour)
		synctest.Wait()
		times := src.times(start)
		require.Greater(t, len(times), 49)
		require.Less(t, len(times), 76)
		gaps := map[time.Duration]bool{}
		for i, at := range times[1:] {
			gap := at - times[i]
			require.GreaterOrEqual(t, gap, 48*time.Second)
			require.LessOrEqual(t, gap, 72*time.Second)
			gaps[gap] = true
		}
		require.Greater(t, len(gaps), 10, "with jitter")
	})
}

func TestFailuresBackOff(t *testing.T) {
	polled(t, func(b *bench, src *scripted) {
		src.set("", errors.New("no route to host"))
		time.Sleep(73 * time.Second)
		synctest.Wait()
		require.Equal(t, "no route to host", b.repository().Value.Error)
		mod := b.repository().Mod
		start := time.Now()
		src.times(start)
		time.Sleep(time.Hour)
		synctest.Wait()
		times := src.times(start)
		require.Less(t, times[0], 20*time.Second, "soon at first")
		last := len(times) - 1
		require.Greater(t, times[last]-times[last-1], 3*time.Minute, "and seldom in the end")
		require.Equal(t, mod, b.repository().Mod, "the same error is written once")

		src.set(strings.Repeat("b", 40), nil)
		got, err := b.Synchronise(b.t.Context(), shop)
		require.NoError(t, err)
		require.Empty(t, got.Error, "whoever asks does not wait for the next try")
	})
}

func TestNothingIsDroppedBeforeTheFirstWishes(t *testing.T) {
	polled(t, func(b *bench, src *scripted) {
		lead, err := store.Campaign(b.t.Context(), b.Store, "other", "a", time.Minute)
		require.NoError(b.t, err)
		next := &artifact.Coordinator{Store: b.Store, Blobs: b.Blobs, Dir: b.t.TempDir(), Build: b.Build, Open: b.Open}
		ctx, cancel := context.WithCancel(b.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- next.Run(ctx, lead) }()
		synctest.Wait() // it is the leader, and nobody has told it anything yet
		require.Equal(b.t, src.revision, b.repository().Value.Head)
		require.Len(b.t, b.blobs(), 2)
		next.Set(nil)
		synctest.Wait()
		requireNoRecords(b.t, b.Store)
		cancel()
		require.NoError(b.t, <-ended)
		require.NoError(b.t, lead.Resign(context.Background()))
	})
}

func TestSynchroniseOutlivesAChangeOfTheWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		slow, fast := strings.Repeat("a", 40), strings.Repeat("b", 40)
		b.Open = func(_ artifact.Key, w artifact.Wish) artifact.Source { return &scripted{revision: w.URL} }
		b.Build = func(ctx context.Context, _ artifact.Key, dir string, _ io.Writer) ([]byte, error) {
			revision, err := os.ReadFile(filepath.Join(dir, "revision"))
			if err == nil && string(revision) == slow {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []byte("{}"), err
		}
		b.Set(map[artifact.Key]artifact.Wish{shop: {URL: slow}})
		heads, errs := make(chan string, 1), make(chan error, 2)
		go func() {
			got, err := b.Synchronise(t.Context(), shop)
			heads <- got.Head
			errs <- err
		}()
		synctest.Wait()
		stop := b.start("a")
		synctest.Wait() // it builds what is slow, for the call
		b.Set(map[artifact.Key]artifact.Wish{shop: {URL: fast}})
		require.NoError(t, <-errs)
		require.Equal(t, fast, <-heads)

		b.Set(map[artifact.Key]artifact.Wish{shop: {URL: slow}})
		go func() {
			_, err := b.Synchronise(t.Context(), shop)
			errs <- err
		}()
		synctest.Wait()
		b.Set(nil)
		require.ErrorIs(t, <-errs, store.ErrNotFound)
		stop()
	})
}

// failing is a store whose commits fail when they are told to.
type failing struct {
	store.Store
	mu  sync.Mutex
	err error
}

func (f *failing) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return f.Store.Commit(ctx, t)
}

func TestStoreErrorsAreTriedAgain(t *testing.T) {
	polled(t, func(b *bench, src *scripted) {
		t := b.t
		s := &failing{Store: b.Store}
		other := &bench{t: t, Coordinator: &artifact.Coordinator{Store: s, Blobs: b.Blobs, Dir: t.TempDir(), Build: b.Build, Open: b.Open}}
		other.Set(map[artifact.Key]artifact.Wish{shop: {URL: "https://example.org/x"}})
		lead, err := store.Campaign(t.Context(), b.Store, "other", "a", time.Minute)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { require.NoError(t, other.Run(ctx, lead)) })

		next := strings.Repeat("b", 40)
		s.set(store.ErrFull)
		src.set(next, nil)
		_, err = other.Synchronise(t.Context(), shop)
		require.ErrorIs(t, err, store.ErrFull)
		s.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, next, other.repository().Value.Head)
		cancel()
		ended.Wait()
		require.NoError(t, lead.Resign(context.Background()))
	})
}
