package balancertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// sharedEvenly: of requests that come one after the other, no member gets more
// than the others.
func sharedEvenly(ctx context.Context, b *bench) error {
	const each = 1000
	members := b.start(3)
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	got := map[string]int{}
	for range each * len(members) {
		name, err := b.want(ctx)
		if err != nil {
			return err
		}
		got[name]++
	}
	for _, m := range members {
		if n := got[string(m.id)]; n < each-1 || n > each+1 {
			return fmt.Errorf("member %s got %d of %d requests, want %d: %v", m.id, n, each*len(members), each, got)
		}
	}
	return nil
}

// unknownHost: a host that no route has is nobody's.
func unknownHost(ctx context.Context, b *bench) error {
	if err := b.apply(ctx, b.start(1), nil); err != nil {
		return err
	}
	if a, err := b.ask(ctx, http.MethodGet, "other.example", "/", ""); err != nil || a.status != http.StatusNotFound {
		return fmt.Errorf("unknown host: status %d, error %v; want 404", a.status, err)
	}
	a, err := b.ask(ctx, http.MethodGet, "SHOP.example:8080", "/", "")
	if err != nil || a.status != http.StatusOK {
		return fmt.Errorf("known host in other letters, with a port: status %d, error %v; want 200", a.status, err)
	}
	return nil
}

// longestPath: prefixes match at the end of a segment, and the longest wins.
func longestPath(ctx context.Context, b *bench) error {
	all := b.start(3)
	clusters := map[topology.ClusterID][]balancer.Target{}
	for i, id := range []topology.ClusterID{"root", "a", "ab"} {
		clusters[id] = targets(all[i:i+1], false)
	}
	err := b.applyTable(ctx, clusters,
		balancer.Route{Host: shopHost, Path: "/t/a/b", Cluster: "ab"},
		balancer.Route{Host: shopHost, Path: "/t/a", Cluster: "a"},
		balancer.Route{Host: shopHost, Cluster: "root"})
	if err != nil {
		return err
	}
	for path, want := range map[string]*member{
		"/": all[0], "/t": all[0], "/t/ab": all[0], "/t/a": all[1], "/t/a/": all[1], "/t/a/bc": all[1],
		"/t/a/b": all[2], "/t/a/b/c": all[2],
	} {
		a, err := b.ask(ctx, http.MethodGet, shopHost, path, "")
		if err != nil || a.member != string(want.id) {
			return fmt.Errorf("path %s: member %q, error %v; want %s", path, a.member, err, want.id)
		}
	}
	return nil
}

// noTarget: while nobody serves, a request waits for a member, or is told when
// to come again.
func noTarget(ctx context.Context, b *bench) error {
	if err := b.apply(ctx, nil, b.start(1)); err != nil {
		return err
	}
	type result struct {
		answer
		err error
	}
	done := make(chan result, 1)
	go func() {
		a, err := b.ask(ctx, http.MethodGet, shopHost, "/", "")
		done <- result{a, err}
	}()
	if sr, ok := b.Backend.(balancer.StatReader); ok {
		err := eventually(ctx, func() error {
			if s := sr.Stats()[shop]; s.Queued == 0 && s.Errors == 0 {
				return errors.New("the request is neither counted as queued nor as an error")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := b.apply(ctx, b.start(1), nil); err != nil {
		return err
	}
	r := <-done
	switch {
	case r.err != nil:
		return r.err
	case r.status == http.StatusServiceUnavailable && r.retryAfter == "":
		return errors.New("503 without Retry-After")
	case r.status != http.StatusServiceUnavailable && r.member != string(b.members[1].id):
		return fmt.Errorf("status %d from %q; want 503, or 200 from %s", r.status, r.member, b.members[1].id)
	}
	return nil
}

// wholeTable: what a table does not have is gone, and applying it twice is
// applying it once.
func wholeTable(ctx context.Context, b *bench) error {
	members := b.start(2)
	both := map[topology.ClusterID][]balancer.Target{shop: targets(members[:1], false), "other": targets(members[1:], false)}
	routes := []balancer.Route{{Host: shopHost, Cluster: shop}, {Host: "other.example", Cluster: "other"}}
	for range 2 {
		if err := b.applyTable(ctx, both, routes...); err != nil {
			return err
		}
		for i, r := range routes {
			a, err := b.ask(ctx, http.MethodGet, r.Host, "/", "")
			if err != nil || a.member != string(members[i].id) {
				return fmt.Errorf("host %s: member %q, error %v; want %s", r.Host, a.member, err, members[i].id)
			}
		}
	}
	delete(both, "other")
	if err := b.applyTable(ctx, both, routes[0]); err != nil {
		return err
	}
	a, err := b.ask(ctx, http.MethodGet, "other.example", "/", "")
	if err != nil || a.status != http.StatusNotFound {
		return fmt.Errorf("a host that left the table: status %d, error %v; want 404", a.status, err)
	}
	return nil
}

// updatesLoseNothing: members come, drain and go under load, and every request
// is answered by one.
func updatesLoseNothing(ctx context.Context, b *bench) error {
	m := b.start(4)
	sets := [][2][]*member{ // serving, draining
		{m[:2], nil}, {m, nil}, {m[2:], m[:2]}, {m[2:], nil}, {m[1:3], m[3:]}, {m[:1], m[1:]},
	}
	if err := b.apply(ctx, m[:2], nil); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	over := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				method := []string{http.MethodGet, http.MethodPost}[i%2]
				a, err := b.ask(ctx, method, shopHost, "/", "hello")
				if err != nil || a.status != http.StatusOK {
					stop(fmt.Errorf("%s: status %d %s, error %v", method, a.status, a.body, err))
					return
				}
			}
		})
	}
	var err error
	for i := range 300 {
		set := sets[i%len(sets)]
		if err = b.apply(ctx, set[0], set[1]); err != nil {
			break
		}
		if _, err = b.want(ctx); err != nil { // gives the load its share of time
			break
		}
	}
	close(over)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// refusedConnection: a member that is gone before the table knows costs nothing.
func refusedConnection(ctx context.Context, b *bench) error {
	members := b.start(3)
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	members[1].kill()
	for i := range 60 {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		a, err := b.ask(ctx, method, shopHost, "/", "hello")
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%s with one member of three gone: status %d %s, error %v", method, a.status, a.body, err)
		}
	}
	return nil
}

// postOnce: every POST reaches exactly one member.
func postOnce(ctx context.Context, b *bench) error {
	const n = 200
	members := b.start(2)
	if err := b.apply(ctx, members, nil); err != nil {
		return err
	}
	for range n {
		a, err := b.ask(ctx, http.MethodPost, shopHost, "/", "hello")
		if err != nil || a.status != http.StatusOK || a.body != a.member+" hello" {
			return fmt.Errorf("status %d, body %q, error %v", a.status, a.body, err)
		}
	}
	if got := members[0].posts.Load() + members[1].posts.Load(); got != n {
		return fmt.Errorf("members got %d POSTs; %d were sent", got, n)
	}
	return nil
}
