package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(key, value string) store.Txn {
	return store.Txn{Then: []store.Op{{Key: key, Value: []byte(value)}}}
}

// writers write distinct keys until they are stopped, and note what they were told.
type writers struct {
	store   *etcd.Store
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	done    map[string]store.Revision
	unknown map[string]bool
	refused map[string]bool
}

func startWriters(t *testing.T, s *etcd.Store, n int) *writers {
	w := &writers{store: s, stop: make(chan struct{}), done: map[string]store.Revision{}, unknown: map[string]bool{}, refused: map[string]bool{}}
	ctx := t.Context()
	for i := range n {
		w.running.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-w.stop:
					return
				default:
				}
				// Created once: one that is applied twice is told of a conflict.
				key := fmt.Sprintf("w/%d/%d", i, j)
				x := put(key, "x")
				x.If = []store.Cond{{Key: key}}
				rev, err := s.Commit(ctx, x)
				w.note(key, rev, err)
			}
		})
	}
	return w
}

func (w *writers) note(key string, rev store.Revision, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var unknown *store.UnknownError
	switch {
	case err == nil:
		w.done[key] = rev
	case errors.As(err, &unknown):
		w.unknown[key] = true
	default:
		w.refused[key] = true
	}
}

// more waits until n more writes are acknowledged.
func (w *writers) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.done)
	}
	want := count() + n
	require.Eventually(t, func() bool { return count() >= want }, patience, 5*time.Millisecond)
}

func (w *writers) end() {
	close(w.stop)
	w.running.Wait()
}

// follow collects the batches of a watcher until the one at last.
func follow(t *testing.T, w store.Watcher, last store.Revision) []store.Batch {
	t.Helper()
	var all []store.Batch
	ctx := within(t)
	for {
		b, err := w.Next(ctx)
		require.NoError(t, err)
		if len(b.Events) > 0 {
			all = append(all, b)
		}
		if b.Rev >= last {
			return all
		}
	}
}

// TestLeaderKilled: no acknowledged write is lost, none that was refused is
// there, and a watcher sees each of them once.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{Nodes: 3})
	s := open(t, etcd.Config{Endpoints: c.Endpoints()})
	start, err := s.List(within(t), "", store.ReadOptions{})
	require.NoError(t, err)
	watcher, err := s.Watch(within(t), "w/", start.Rev)
	require.NoError(t, err)
	defer watcher.Close()
	w := startWriters(t, s, 4)
	for range 2 {
		w.more(t, 50)
		i, err := c.Leader()
		require.NoError(t, err)
		c.Kill(i)
		w.more(t, 20)
		require.NoError(t, c.Restart(i))
	}
	w.end()
	page, err := s.List(within(t), "w/", store.ReadOptions{})
	require.NoError(t, err)
	there := map[string]store.Revision{}
	for _, kv := range page.KVs {
		there[kv.Key] = kv.Mod
		require.NotContains(t, w.refused, kv.Key, "refused, but there")
	}
	for key, rev := range w.done {
		require.Equal(t, rev, there[key], "%s was acknowledged", key)
	}
	require.Equal(t, len(there), len(w.done)+unknownThere(w, there))
	last, err := s.Commit(within(t), put("w/last", ""))
	require.NoError(t, err)
	seen := map[string]store.Revision{}
	var before store.Revision
	for _, b := range follow(t, watcher, last) {
		require.Greater(t, b.Rev, before)
		before = b.Rev
		for _, e := range b.Events {
			require.NotContains(t, seen, e.Key)
			seen[e.Key] = b.Rev
		}
	}
	delete(seen, "w/last")
	require.Equal(t, there, seen)
	t.Logf("acknowledged %d, unknown %d (applied %d), refused %d", len(w.done), len(w.unknown), unknownThere(w, there), len(w.refused))
}

func unknownThere(w *writers, there map[string]store.Revision) int {
	n := 0
	for key := range w.unknown {
		if _, ok := there[key]; ok {
			n++
		}
	}
	return n
}

// TestLeaseOutlivesTheLeader: a lease that nobody renews any more still has
// its full time when etcd's leader dies.
func TestLeaseOutlivesTheLeader(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{Nodes: 3})
	s := open(t, etcd.Config{Endpoints: c.Endpoints()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := s.Grant(ctx, 4*time.Second)
	require.NoError(t, err)
	renewed, err := s.Grant(t.Context(), 8*time.Second)
	require.NoError(t, err)
	_, err = s.Commit(within(t), store.Txn{Then: []store.Op{
		{Key: "mortal", Lease: l.ID()}, {Key: "renewed", Lease: renewed.ID()},
	}})
	require.NoError(t, err)
	rev, err := s.Commit(within(t), put("other", ""))
	require.NoError(t, err)
	w, err := s.Watch(within(t), "", rev)
	require.NoError(t, err)
	defer w.Close()
	cancel()
	<-l.Done()
	i, err := c.Leader()
	require.NoError(t, err)
	c.Kill(i)
	for {
		b, err := w.Next(within(t))
		require.NoError(t, err)
		if len(b.Events) == 0 {
			continue
		}
		require.False(t, time.Now().Before(l.Deadline()), "the lease ended early")
		require.Equal(t, "mortal", b.Events[0].Key)
		break
	}
	before := renewed.Deadline()
	require.Eventually(t, func() bool { return renewed.Deadline().After(before) }, patience, 10*time.Millisecond)
	_, _, err = s.Get(within(t), "renewed", store.ReadOptions{})
	require.NoError(t, err)
}

// TestPausedLeaderIsFenced: an elected leader that can reach only a server
// that stands still learns in time that it leads no longer, and what it writes
// is refused.
func TestPausedLeaderIsFenced(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{Nodes: 3})
	i, err := c.Leader()
	require.NoError(t, err)
	follower := (i + 1) % 3
	cut := open(t, etcd.Config{Endpoints: c.Endpoints()[follower : follower+1]})
	whole := open(t, etcd.Config{Endpoints: c.Endpoints()[i : i+1]})
	old, err := store.Campaign(t.Context(), cut, "x", "old", 3*time.Second)
	require.NoError(t, err)
	require.NoError(t, c.Pause(follower))
	now, err := store.Campaign(within(t), whole, "x", "new", 3*time.Second)
	require.NoError(t, err)
	select {
	case <-old.Context().Done():
	default:
		require.Fail(t, "two leaders at the same time")
	}
	require.NoError(t, c.Resume(follower))
	late := put("a", "old")
	late.If = []store.Cond{old.Guard()}
	for {
		_, err = cut.Commit(within(t), late)
		var unknown *store.UnknownError
		if !errors.As(err, &unknown) {
			break
		}
	}
	var fenced *store.FencedError
	require.ErrorAs(t, err, &fenced)
	good := put("a", "new")
	good.If = []store.Cond{now.Guard()}
	_, err = whole.Commit(within(t), good)
	require.NoError(t, err)
	require.NoError(t, now.Resign(within(t)))
}

// TestQuota: etcd's space is used up, and the operator helps.
func TestQuota(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(4 << 20)}})
	s := open(t, etcd.Config{Endpoints: c.Endpoints()})
	lease, err := s.Grant(t.Context(), 5*time.Second)
	require.NoError(t, err)
	value := bytes.Repeat([]byte{'x'}, 200<<10)
	var last store.Revision
	for err == nil {
		var rev store.Revision
		if rev, err = s.Commit(within(t), store.Txn{Then: []store.Op{{Key: "a", Value: value}}}); err == nil {
			last = rev
		}
	}
	require.ErrorIs(t, err, store.ErrFull)
	var unknown *store.UnknownError
	require.ErrorAs(t, err, &unknown, "etcd gives the same answer after it applied the last one")
	require.ErrorContains(t, err, "disarm")
	kv, _, err := s.Get(within(t), "a", store.ReadOptions{})
	require.NoError(t, err)
	require.Contains(t, []store.Revision{last, last + 1}, kv.Mod)
	last = kv.Mod
	before := lease.Deadline()
	require.Eventually(t, func() bool { return lease.Deadline().After(before) }, patience, 10*time.Millisecond, "leases are renewed all the same")

	require.NoError(t, s.Compact(within(t), last))
	client := connect(t, c)
	defer func() { require.NoError(t, client.Close()) }()
	require.Eventually(t, func() bool { // compaction goes on in the background
		if _, err := client.Defragment(within(t), c.Endpoints()[0]); err != nil {
			return false
		}
		if _, err := client.AlarmDisarm(within(t), &clientv3.AlarmMember{}); err != nil {
			return false
		}
		_, err := s.Commit(within(t), put("a", "small"))
		return err == nil
	}, patience, 100*time.Millisecond)
}

// TestServerAwayAndBack: calls fail clearly while there is no server, and a
// watcher goes on without a gap.
func TestServerAwayAndBack(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{})
	s := open(t, etcd.Config{Endpoints: c.Endpoints()})
	rev, err := s.Commit(within(t), put("a", "1"))
	require.NoError(t, err)
	w, err := s.Watch(within(t), "", rev)
	require.NoError(t, err)
	defer w.Close()
	c.Kill(0)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err = s.Get(short, "a", store.ReadOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Commit(within(t), put("away", "1"))
	require.ErrorContains(t, err, c.Endpoints()[0])
	var unknown *store.UnknownError
	require.False(t, errors.As(err, &unknown), "it never left: %v", err)

	require.NoError(t, c.Restart(0))
	var first store.Revision
	require.Eventually(t, func() bool {
		first, err = s.Commit(within(t), put("a", "2"))
		return err == nil
	}, patience, 50*time.Millisecond)
	second, err := s.Commit(within(t), put("b", "1"))
	require.NoError(t, err)
	got := follow(t, w, second)
	require.Len(t, got, 2)
	require.Equal(t, first, got[0].Rev)
	require.Equal(t, second, got[1].Rev)
	_, _, err = s.Get(within(t), "away", store.ReadOptions{})
	require.ErrorIs(t, err, store.ErrNotFound, "what was refused is not there")
}
