package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// source hands out the view it was given last.
type source struct {
	mu      sync.Mutex
	view    *topology.View
	broken  error
	changed chan struct{}
	reads   int
}

func (s *source) Next(ctx context.Context, after store.Revision) (*topology.View, error) {
	for {
		s.mu.Lock()
		s.reads++
		v, err, changed := s.view, s.broken, s.changed
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if v != nil && v.Rev > after {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *source) set(v *topology.View, broken error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view, s.broken = v, broken
	close(s.changed)
	s.changed = make(chan struct{})
}

// backend notes what is applied, and when, takes its time, and fails as long
// as it is told to.
type backend struct {
	mu    sync.Mutex
	err   error
	takes time.Duration
	got   []store.Revision
	at    []time.Time
}

func (b *backend) Apply(ctx context.Context, t *balancer.Table) error {
	b.mu.Lock()
	takes := b.takes
	b.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got, b.at = append(b.got, t.Rev), append(b.at, time.Now())
	return b.err
}

func (b *backend) be(err error, takes time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.takes = err, takes
}

func (b *backend) applied() []store.Revision {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]store.Revision{}, b.got...)
}

// synced runs a Sync in synthetic time.
func synced(t *testing.T, check func(t *testing.T, s *source, b *backend)) {
	synctest.Test(t, func(t *testing.T) {
		s, b := &source{changed: make(chan struct{})}, &backend{}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- (&balancer.Sync{Source: s, Backend: b}).Run(ctx) }()
		check(t, s, b)
		stop()
		require.NoError(t, <-done, "a cancelled Run is a success")
	})
}

// hosts is a view in which a cluster has these hosts.
func hosts(t *testing.T, rev store.Revision, names ...string) *topology.View {
	c := cluster("acme.shop")
	for _, h := range names {
		c.Routes = append(c.Routes, topology.Route{Host: h})
	}
	return view(t, rev, c)
}

func TestSyncAppliesWhatChanged(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		require.Empty(t, b.applied())
		s.set(hosts(t, 1, "a"), nil)
		require.Equal(t, []store.Revision{1}, b.applied())
		time.Sleep(time.Second)
		s.set(hosts(t, 2, "a"), nil)
		require.Equal(t, []store.Revision{1}, b.applied(), "only the revision changed")
		s.set(hosts(t, 3, "a", "b"), nil)
		require.Equal(t, []store.Revision{1, 3}, b.applied(), "at once, after a silence")
	})
}

func TestSyncAppliesAnEmptyTopology(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		s.set(view(t, 1), nil)
		require.Equal(t, []store.Revision{1}, b.applied(), "a backend that was full before must know")
	})
}

func TestSyncCoalesces(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		b.be(nil, time.Minute)
		for rev := range store.Revision(100) {
			s.set(hosts(t, rev+1, fmt.Sprint("host-", rev)), nil)
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		require.Equal(t, []store.Revision{1, 100}, b.applied())

		b.be(nil, 0)
		for rev := range store.Revision(100) {
			s.set(hosts(t, rev+101, fmt.Sprint("host-", rev)), nil)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		got := b.applied()[2:]
		require.Equal(t, store.Revision(101), got[0], "at once")
		require.Equal(t, store.Revision(200), got[len(got)-1], "the last one")
		require.Len(t, got, 3, "one in 50 ms")
	})
}

func TestSyncRetriesAndSlowsDown(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		b.be(errors.New("broken"), 0)
		s.set(hosts(t, 1, "a"), nil)
		time.Sleep(time.Hour)
		tries := b.applied()
		require.Greater(t, len(tries), 300)
		require.Less(t, len(tries), 800, "5 to 10 s apart")
		first := b.at[1].Sub(b.at[0])
		require.True(t, 50*time.Millisecond <= first && first <= 100*time.Millisecond, "%v", first)

		s.set(hosts(t, 2, "b"), nil)
		b.be(nil, 0)
		time.Sleep(time.Hour)
		got := b.applied()
		require.Len(t, got, len(tries)+1)
		require.Equal(t, store.Revision(2), got[len(got)-1], "the newest, once")
	})
}

func TestSyncAppliesTheFormerTableAfterAFailure(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		s.set(hosts(t, 1, "a"), nil)
		b.applied()
		time.Sleep(time.Second)
		b.be(errors.New("half done"), 0)
		s.set(hosts(t, 2, "b"), nil)
		require.Equal(t, []store.Revision{1, 2}, b.applied())
		b.be(nil, 0)
		s.set(hosts(t, 3, "a"), nil)
		time.Sleep(time.Minute)
		require.Equal(t, []store.Revision{1, 2, 3}, b.applied())
	})
}

func TestSyncOutlivesItsSource(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		s.set(nil, errors.New("away"))
		time.Sleep(time.Hour)
		require.Empty(t, b.applied())
		require.Less(t, s.reads, 800, "5 to 10 s apart")
		s.set(hosts(t, 1, "a"), nil)
		time.Sleep(time.Minute)
		require.Equal(t, []store.Revision{1}, b.applied())
	})
}

func TestSyncStopsWhileApplying(t *testing.T) {
	synced(t, func(t *testing.T, s *source, b *backend) {
		b.be(nil, 1000*time.Hour)
		s.set(hosts(t, 1, "a"), nil)
		synctest.Wait() // in Apply; the end of Run is checked by synced
	})
}

// printer is a backend in one method.
type printer struct{ done context.CancelFunc }

func (p printer) Apply(_ context.Context, t *balancer.Table) error {
	for _, r := range t.Routes {
		fmt.Println(r.Host, "->", r.Cluster)
	}
	p.done()
	return nil
}

var _ balancer.Backend = printer{}

func ExampleSync() {
	v, err := (&topology.View{}).With(1, []store.Event{{KV: store.KV{
		Key: "clusters/acme.shop", Value: []byte(`{"id":"acme.shop","routes":[{"host":"shop.example"}]}`)}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, done := context.WithCancel(context.Background())
	s := balancer.Sync{Source: &source{view: v}, Backend: printer{done}}
	if err := s.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: shop.example -> acme.shop
}
