package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/hub"
)

// history is an engine's log: every revision has one event.
type history struct {
	compacted, head store.Revision
	reads           int
}

func (h *history) After(rev store.Revision) ([]store.Batch, error) {
	h.reads++
	if rev < h.compacted {
		return nil, &store.CompactedError{Oldest: h.compacted, Current: h.head}
	}
	var some []store.Batch
	for r := rev + 1; r <= h.head && len(some) < 100; r++ {
		some = append(some, batch(r, "a"))
	}
	return some, nil
}

func batch(rev store.Revision, keys ...string) store.Batch {
	b := store.Batch{Rev: rev}
	for _, k := range keys {
		b.Events = append(b.Events, store.Event{KV: store.KV{Key: k, Create: rev, Mod: rev}})
	}
	return b
}

func publish(h *hub.Hub, log *history, n int) {
	for range n {
		log.head++
		h.Publish(batch(log.head, "a"))
	}
}

func requireRevs(t *testing.T, w store.Watcher, from, to store.Revision) {
	t.Helper()
	for rev := from; rev <= to; rev++ {
		b, err := w.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, rev, b.Rev)
	}
}

func TestOldComesFromHistoryAndNewFromMemory(t *testing.T) {
	log := &history{head: 500}
	h := hub.New(log, 500)
	w := h.Watch("", 0)
	publish(h, log, 5000)
	requireRevs(t, w, 1, 5500)
	reads := log.reads
	publish(h, log, 10)
	requireRevs(t, w, 5501, 5510)
	require.Equal(t, reads, log.reads, "the newest are in memory")
}

func TestSlowWatcherIsToldOnce(t *testing.T) {
	log := &history{}
	h := hub.New(log, 0)
	w := h.Watch("", 0)
	publish(h, log, 10)
	requireRevs(t, w, 1, 3)
	publish(h, log, 5000)
	log.compacted = 4000
	requireRevs(t, w, 4, 10) // what it had in its hands
	_, err := w.Next(t.Context())
	require.Equal(t, &store.SlowError{Last: 10}, err)
	_, err = w.Next(t.Context())
	require.ErrorIs(t, err, store.ErrClosed)
}

// TestCompactionSparesWhoKeepsUp: what is in memory is handed out though the history is gone.
func TestCompactionSparesWhoKeepsUp(t *testing.T) {
	log := &history{}
	h := hub.New(log, 0)
	w := h.Watch("", 0)
	publish(h, log, 100)
	log.compacted = 100
	requireRevs(t, w, 1, 100)
}

func TestMemoryIsBounded(t *testing.T) {
	log := &history{}
	h := hub.New(log, 0)
	w := h.Watch("", 0)
	for range 40 {
		log.head++
		b := batch(log.head, "a")
		b.Events[0].Value = make([]byte, 1<<20)
		h.Publish(b)
	}
	_, err := w.Next(t.Context())
	require.NoError(t, err)
	require.Positive(t, log.reads, "40 MiB are still in memory")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &history{head: 7}
		h := hub.New(log, 7)
		w := h.Watch("quiet/", 7)
		start := time.Now()
		b, err := w.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Batch{Rev: 7}, b)
		require.LessOrEqual(t, time.Since(start), store.ProgressEvery)

		// Transactions elsewhere do not put the mark off.
		publishing := make(chan struct{})
		go func() {
			defer close(publishing)
			for range 20 {
				<-time.After(store.ProgressEvery / 10) // fake time
				h.Publish(batch(nextRev(log), "loud"))
			}
		}()
		start = time.Now()
		b, err = w.Next(t.Context())
		require.NoError(t, err)
		require.Empty(t, b.Events)
		require.Greater(t, b.Rev, store.Revision(7))
		require.LessOrEqual(t, time.Since(start), store.ProgressEvery)
		<-publishing

		h.Publish(batch(nextRev(log), "quiet/a", "loud"))
		b, err = w.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, b.Events, 1)
		h.Close()
		_, err = w.Next(t.Context())
		require.ErrorIs(t, err, store.ErrClosed)
	})
}

func nextRev(log *history) store.Revision {
	log.head++
	return log.head
}

// TestWatchBeforePublish: a reader may know a revision before the hub does.
func TestWatchBeforePublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &history{head: 12}
		h := hub.New(log, 10)
		w := h.Watch("", 12)
		h.Publish(batch(11, "a"), batch(12, "a"))
		b, err := w.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Batch{Rev: 12}, b)
		h.Publish(batch(13, "a"))
		requireRevs(t, w, 13, 13)
	})
}

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &history{}
		h := hub.New(log, 0)
		w := h.Watch("", 0)
		got := make(chan string, 10)
		for range 10 {
			go func() {
				b, err := w.Next(t.Context())
				got <- fmt.Sprint(b.Rev, err)
			}()
		}
		publish(h, log, 10)
		seen := make(map[string]bool)
		for range 10 {
			seen[<-got] = true
		}
		require.Len(t, seen, 10)
	})
}
