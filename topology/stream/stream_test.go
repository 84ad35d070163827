package stream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// bed is a store with a mirror, served over HTTP.
type bed struct {
	t      *testing.T
	ctx    context.Context
	store  store.Store
	mirror *topology.Mirror
	web    *httptest.Server
	stop   context.CancelFunc // of the streams
}

func newBed(t *testing.T, s *stream.Server) *bed {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	b := &bed{t: t, ctx: ctx, store: mem.New()}
	b.mirror = &topology.Mirror{Store: b.store}
	done := make(chan error, 1)
	go func() { done <- b.mirror.Run(ctx) }()
	stopping, stop := context.WithCancel(ctx)
	b.stop = stop
	s.Source, s.Store = b.mirror, "test.1"
	mux := http.NewServeMux()
	with := func(h func(http.ResponseWriter, *http.Request, stream.Scope)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			scope, err := stream.ParseScope(r.URL.Query().Get("scope"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			h(w, r, scope)
		}
	}
	mux.HandleFunc("GET "+stream.SnapshotPath, with(s.Snapshot))
	mux.HandleFunc("GET "+stream.WatchPath, with(func(w http.ResponseWriter, r *http.Request, sc stream.Scope) { s.Watch(stopping, w, r, sc) }))
	b.web = httptest.NewServer(mux)
	t.Cleanup(func() {
		stop()
		b.web.Close()
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, b.store.Close())
	})
	return b
}

func (b *bed) commit(ops ...store.Op) store.Revision {
	b.t.Helper()
	rev, err := b.store.Commit(b.ctx, store.Txn{Then: ops})
	require.NoError(b.t, err)
	return rev
}

func put(t testing.TB, key string, v any) store.Op {
	t.Helper()
	rec := store.NewRecord(key, v)
	op, err := rec.Put()
	require.NoError(t, err)
	return op
}

func (b *bed) follow(c *stream.Client) {
	c.URLs, c.Retry = []string{b.web.URL}, 100*time.Millisecond
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		require.NoError(b.t, <-done)
	})
}

// same waits until the client has seen rev, and compares what it has.
func (b *bed) same(c *stream.Client, rev store.Revision, scope stream.Scope) {
	b.t.Helper()
	got, err := c.Next(b.ctx, rev-1)
	require.NoError(b.t, err)
	want, err := b.mirror.Next(b.ctx, rev-1)
	require.NoError(b.t, err)
	require.Equal(b.t, describe(b.t, want, scope), describe(b.t, got, scope))
}

func describe(t *testing.T, v *topology.View, scope stream.Scope) []string {
	var all []string
	for c := range v.Clusters() {
		if !scope.Has(c) {
			continue
		}
		line := fmt.Sprintf("%v %+v %v", c.Known, c.Cluster, c.Mod())
		if c.Want != nil {
			line += fmt.Sprintf(" want %d", c.Want.Size)
		}
		for _, m := range c.Members() {
			j, err := json.Marshal(m.Public())
			require.NoError(t, err)
			line += fmt.Sprintf(" %s@%d", j, m.Mod)
		}
		all = append(all, line)
	}
	return all
}

func TestClientHasWhatTheServerHas(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	b.commit(put(t, topology.ClusterKey("default.a"), topology.Cluster{ID: "default.a", Tenant: "default", Service: "php"}))
	all, own := &stream.Client{}, &stream.Client{Scope: stream.ClusterScope("default.b")}
	b.follow(all)
	b.follow(own)
	var rev store.Revision
	for i := range 60 {
		id := topology.ClusterID([]string{"default.a", "default.b", "other.c"}[i%3])
		m := topology.MemberID(fmt.Sprintf("m%d", i%7))
		ops := []store.Op{put(t, topology.MemberKey(id, m), topology.Member{ID: m, Cluster: id, State: topology.Active, Restarts: i, PublicKey: []byte("secret")})}
		switch i % 5 {
		case 1:
			ops = append(ops, put(t, topology.WantKey(id), topology.Want{Cluster: id, Size: i}))
		case 2:
			ops = []store.Op{{Key: topology.MemberKey(id, m), Delete: true}, put(t, topology.ClusterKey(id), topology.Cluster{ID: id, Min: i})}
		case 4:
			ops = []store.Op{{Key: topology.WantKey(id), Delete: true}, {Key: topology.ClusterKey(id), Delete: true}, ops[0]}
		}
		rev = b.commit(ops...)
		if i%10 == 0 {
			b.same(all, rev, stream.Scope{})
		}
	}
	// A change outside the scope makes no frame: the own cluster's last one does.
	rev = b.commit(put(t, topology.ClusterKey("default.b"), topology.Cluster{ID: "default.b", Max: 9}))
	b.same(all, rev, stream.Scope{})
	b.same(own, rev, stream.ClusterScope("default.b"))
	v, err := own.Next(b.ctx, 0)
	require.NoError(t, err)
	require.Nil(t, v.Cluster("other.c"))
	for _, m := range v.Cluster("default.b").Members() {
		require.Nil(t, m.PublicKey, "only the public projection travels")
	}
}

func TestClientComesBackAfterABreak(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	c := &stream.Client{}
	rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a"}))
	b.follow(c)
	b.same(c, rev, stream.Scope{})
	b.web.CloseClientConnections()
	rev = b.commit(store.Op{Key: topology.ClusterKey("a"), Delete: true}, put(t, topology.ClusterKey("b"), topology.Cluster{ID: "b"}))
	b.same(c, rev, stream.Scope{})
}

func TestSilentStreamGivesASignOfLife(t *testing.T) {
	b := newBed(t, &stream.Server{Sync: 20 * time.Millisecond})
	b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a"}))
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.web.URL+stream.WatchPath, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	var kinds []string
	for len(kinds) < 3 && lines.Scan() {
		var f struct{ T string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &f))
		kinds = append(kinds, f.T)
	}
	require.Equal(t, []string{"snap", "sync", "sync"}, kinds)
	b.stop()
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	require.Contains(t, last, `"bye"`)
}

func TestClientStopsWhenItIsLetGo(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) }))
	defer web.Close()
	c := &stream.Client{URLs: []string{web.URL}}
	require.ErrorIs(t, c.Run(t.Context()), stream.ErrGone)
}
