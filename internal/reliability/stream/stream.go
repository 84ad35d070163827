// Package stream tells whether everybody who follows the topology ends up with
// it, whatever happens to the frames on the way.
//
// [Run] changes a topology while consumers of several scopes follow it through
// a proxy that drops, doubles and reorders frames. When the changes end, the
// proxy becomes honest, and every consumer must have the records that the
// control plane has.
package stream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// Options say how hard it is. The zero value is a run of some seconds.
type Options struct {
	Seed      uint64
	Changes   int           // transactions; default 1000
	Consumers int           // default 20
	Clusters  int           // default 20
	Mangle    float64       // share of frames that are dropped, doubled or reordered; default 0.3
	Sync      time.Duration // default 1 s
	Deadline  time.Duration // to converge after the last change; default 60 times Sync
	// HideSyncs has the proxy be honest until the last change, and then, for ever,
	// keep the digests from the consumers too: the control, which must fail.
	HideSyncs bool
}

// Result is what was seen.
type Result struct {
	Changes, Consumers int
	Frames, Mangled    int           // that passed the proxy while it mangled
	Mismatches, Lost   int           // found by consumers
	Snapshots          int           // read by consumers, their first included
	Longest            time.Duration // from the last change until the last consumer had it
}

// bed is what a run consists of.
type bed struct {
	Options
	store   store.Store
	mirror  *topology.Mirror
	proxy   *proxy
	clients []*stream.Client
	url     string // of the proxy
}

// Run is an error if a consumer does not converge in time.
func Run(ctx context.Context, o Options) (Result, error) {
	o.Changes, o.Consumers = cmp.Or(o.Changes, 1000), cmp.Or(o.Consumers, 20)
	o.Clusters, o.Mangle = cmp.Or(o.Clusters, 20), cmp.Or(o.Mangle, 0.3)
	o.Sync = cmp.Or(o.Sync, time.Second)
	o.Deadline = cmp.Or(o.Deadline, 60*o.Sync)
	b := &bed{Options: o, store: mem.New()}
	b.mirror = &topology.Mirror{Store: b.store}
	running, stop := context.WithCancel(ctx)
	g, running := errgroup.WithContext(running)
	var result Result
	err := b.start(running, g)
	if err == nil {
		result, err = b.run(running)
	}
	stop()
	if gerr := g.Wait(); err == nil {
		err = gerr
	}
	if cerr := b.store.Close(); err == nil {
		err = cerr
	}
	return result, err
}

// start serves the topology, the proxy before it, and the consumers.
func (b *bed) start(ctx context.Context, g *errgroup.Group) error {
	g.Go(func() error { return b.mirror.Run(ctx) })
	server := &stream.Server{Source: b.mirror, Store: "reliability.1", Coalesce: 2 * time.Millisecond, Sync: b.Sync}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+stream.SnapshotPath, scoped(server.Snapshot))
	mux.HandleFunc("GET "+stream.WatchPath, scoped(func(w http.ResponseWriter, r *http.Request, s stream.Scope) { server.Watch(ctx, w, r, s) }))
	origin, err := serve(ctx, g, mux)
	if err != nil {
		return err
	}
	b.proxy = newProxy(origin, b.Mangle, b.Seed, b.HideSyncs)
	if b.url, err = serve(ctx, g, b.proxy); err != nil {
		return err
	}
	scopes := []string{"all", "tenant=t0", "service=s1", "cluster=c2"}
	for i := range b.Consumers {
		scope, err := stream.ParseScope(scopes[i%len(scopes)])
		if err != nil {
			return err
		}
		// Clusters change their tenants here, so scopes may lose most of their
		// members at once: doubt would only take time.
		c := &stream.Client{URLs: []string{b.url}, Scope: scope, Retry: 100 * time.Millisecond, Doubt: time.Nanosecond}
		b.clients = append(b.clients, c)
		g.Go(func() error { return c.Run(ctx) })
	}
	return nil
}

func (b *bed) run(ctx context.Context) (Result, error) {
	random := rand.New(rand.NewPCG(b.Seed, 1))
	var last store.Revision
	b.proxy.lie(!b.HideSyncs)
	for i := range b.Changes {
		if b.HideSyncs && i == b.Changes-1 {
			if err := b.loseLast(ctx, last); err != nil {
				return Result{}, err
			}
		}
		rev, err := b.change(ctx, random, i)
		if err != nil {
			return Result{}, err
		}
		last = max(last, rev)
		if i%5 == 0 { // let frames form
			if !pause(ctx, 2*time.Millisecond) {
				return Result{}, ctx.Err()
			}
		}
	}
	began := time.Now()
	b.proxy.lie(b.HideSyncs)
	r := Result{Changes: b.Changes, Consumers: b.Consumers}
	r.Frames, r.Mangled = b.proxy.counts()
	ctx, cancel := context.WithTimeout(ctx, b.Deadline)
	defer cancel()
	if err := b.converge(ctx, last); err != nil {
		return r, err
	}
	for _, c := range b.clients {
		stats := c.Stats()
		r.Mismatches += stats.Mismatches
		r.Lost += stats.Lost
		r.Snapshots += stats.Snapshots
	}
	r.Longest = time.Since(began)
	return r, nil
}

// loseLast has the proxy lie about the next change alone, to consumers that
// have all before it: they cannot learn of it from a gap.
func (b *bed) loseLast(ctx context.Context, last store.Revision) error {
	ctx, cancel := context.WithTimeout(ctx, b.Deadline)
	defer cancel()
	if err := b.converge(ctx, last); err != nil {
		return fmt.Errorf("before anything was lost: %w", err)
	}
	b.proxy.lie(true)
	return nil
}

// change commits one random transaction.
func (b *bed) change(ctx context.Context, random *rand.Rand, i int) (store.Revision, error) {
	n := random.IntN(b.Clusters)
	id := topology.ClusterID(fmt.Sprintf("c%d", n))
	member := topology.MemberID(fmt.Sprintf("m%d", random.IntN(8)))
	key, value := topology.MemberKey(id, member), any(topology.Member{ID: member, Cluster: id, State: topology.Active, Restarts: i})
	switch random.IntN(6) {
	case 0:
		key, value = topology.WantKey(id), topology.Want{Cluster: id, Size: i}
	case 1:
		key, value = topology.ClusterKey(id), topology.Cluster{ID: id, Min: i,
			Tenant: topology.TenantID(fmt.Sprintf("t%d", random.IntN(3))), Service: topology.ServiceName(fmt.Sprintf("s%d", n%3))}
	}
	op, err := store.NewRecord(key, value).Put()
	if err != nil {
		return 0, err
	}
	if random.IntN(4) == 0 && i < b.Changes-1 { // the last one always says something
		op = store.Op{Key: key, Delete: true}
	}
	return b.store.Commit(ctx, store.Txn{Then: []store.Op{op}})
}

// converge waits until every consumer has what the control plane has.
func (b *bed) converge(ctx context.Context, last store.Revision) error {
	want, err := b.mirror.Next(ctx, last-1)
	if err != nil {
		return err
	}
	for i, c := range b.clients {
		if err := converge(ctx, c, want); err != nil {
			return fmt.Errorf("seed %d: consumer %d of scope %s: %w", b.Seed, i, c.Scope, err)
		}
	}
	return nil
}

// converge waits until a consumer has the records of its scope.
func converge(ctx context.Context, c *stream.Client, want *topology.View) error {
	expected, err := records(want, c.Scope)
	if err != nil {
		return err
	}
	for at := store.Revision(0); ; {
		v, err := c.Next(ctx, at)
		if err != nil {
			return fmt.Errorf("it does not have what the control plane has: %w", err)
		}
		at = v.Rev
		got, err := records(v, c.Scope)
		if err != nil {
			return err
		}
		if bytes.Equal(got, expected) {
			return nil
		}
	}
}

// records writes the public records of a scope down.
func records(v *topology.View, scope stream.Scope) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for c := range v.Clusters() {
		if !scope.Has(c) {
			continue
		}
		err := enc.Encode([]any{c.Known, c.Mod(), c.WantMod(), c.Cluster, c.Want})
		for _, m := range c.Members() {
			if err == nil {
				err = enc.Encode([]any{m.Mod, m.Public()})
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func scoped(h func(http.ResponseWriter, *http.Request, stream.Scope)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scope, err := stream.ParseScope(r.URL.Query().Get("scope"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h(w, r, scope)
	}
}

// serve serves until ctx ends, and returns the address.
func serve(ctx context.Context, g *errgroup.Group, h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	g.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	g.Go(func() error {
		if err := server.Serve(l); ctx.Err() == nil {
			return err
		}
		return nil
	})
	return "http://" + l.Addr().String(), nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
