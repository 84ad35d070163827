package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/topology"
)

func TestStatusesWithoutAMember(t *testing.T) {
	p := &proxy.Proxy{QueueLength: -1}
	s := front(t, p)
	tests := []struct {
		name, method, host string
		want               int
		body               string
	}{
		{"unknown host", "GET", "other.example", 404, "other.example: nothing is served here\n"},
		{"no member", "GET", shopHost, 503, "shop.example: no member serves, and too many requests wait already\n"},
		{"no member, HEAD", "HEAD", shopHost, 503, ""},
		{"tunnel", "CONNECT", shopHost, 405, "shop.example: tunnels are not served here\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, test.method, s.URL, nil)
			r.Host = test.host
			r.Header.Set("X-Request-Id", "r1")
			res, body := do(t, r)
			require.Equal(t, test.want, res.StatusCode)
			require.Equal(t, test.body, body)
			require.Equal(t, "r1", res.Header.Get("X-Request-Id"))
			require.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
			require.Equal(t, test.want == 503, res.Header.Get("Retry-After") == "5")
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	good := at(serve(t, func(w http.ResponseWriter, r *http.Request) {}))
	p := &proxy.Proxy{}
	s := front(t, p, good)
	ended, end := context.WithCancel(t.Context())
	end()
	nowhere := shopTable()
	nowhere.Clusters = nil
	tests := []struct {
		name  string
		ctx   context.Context
		table *balancer.Table
	}{
		{"no table", t.Context(), nil},
		{"a route to nowhere", t.Context(), nowhere},
		{"too late", ended, shopTable()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Error(t, p.Apply(test.ctx, test.table))
			res, _ := do(t, request(t, "GET", s.URL, nil))
			require.Equal(t, 200, res.StatusCode, "the former table stays")
		})
	}
}

func TestRoutesNameAPort(t *testing.T) {
	tell := func(word string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, word) }
	}
	web, admin := at(serve(t, tell("web"))), at(serve(t, tell("admin")))
	web.Ports["admin"] = admin.Ports["http"]
	p := &proxy.Proxy{QueueLength: -1}
	s := front(t, p)
	table := shopTable(web)
	table.Routes = append(table.Routes,
		balancer.Route{Host: shopHost, Path: "/admin", Port: "admin", Cluster: shop},
		balancer.Route{Host: shopHost, Path: "/none", Port: "none", Cluster: shop},
		balancer.Route{Host: "tcp.example", Port: "http", Protocol: "tcp", Cluster: shop})
	require.NoError(t, p.Apply(t.Context(), table))
	tests := []struct {
		name, host, path string
		status           int
		body             string
	}{
		{"default", shopHost, "/", 200, "web"},
		{"by name", shopHost, "/admin/x", 200, "admin"},
		{"no member has it", shopHost, "/none", 503, ""},
		{"not HTTP", "tcp.example", "/", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, "GET", s.URL+test.path, nil)
			r.Host = test.host
			res, body := do(t, r)
			require.Equal(t, test.status, res.StatusCode)
			if test.body != "" {
				require.Equal(t, test.body, body)
			}
		})
	}
}

// TestConnectionsEndWithTheirTarget: unused ones at once, a used one after its request.
func TestConnectionsEndWithTheirTarget(t *testing.T) {
	var open atomic.Int64
	gate := make(chan struct{}, 2) // one for each case
	member := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			_ = http.NewResponseController(w).Flush()
			<-gate
		}
	}))
	member.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	member.Start()
	t.Cleanup(func() {
		close(gate)
		member.Close()
	})
	for _, test := range []struct {
		name string
		then []balancer.Target
	}{
		{"absent", nil},
		{"draining", []balancer.Target{draining(at(member.Listener.Addr().String()))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &proxy.Proxy{}
			s := front(t, p, at(member.Listener.Addr().String()))
			res, err := http.DefaultTransport.RoundTrip(request(t, "GET", s.URL+"/hold", nil))
			require.NoError(t, err)
			do(t, request(t, "GET", s.URL, nil))
			require.EqualValues(t, 2, open.Load())
			require.NoError(t, p.Apply(t.Context(), shopTable(test.then...)))
			soon(t, func() bool { return open.Load() == 1 }, "the unused one is closed")
			gate <- struct{}{}
			_, err = io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			soon(t, func() bool { return open.Load() == 0 }, "the used one is closed")
		})
	}
}

// TestDrainedNeverSpeaksTooEarly: whoever stops a member because it is drained
// cuts off nobody, however requests and tables interleave.
func TestDrainedNeverSpeaksTooEarly(t *testing.T) {
	const members = 3
	var stopped [members]atomic.Bool
	var tooEarly atomic.Int64
	targets := make([]balancer.Target, members)
	for i := range members {
		targets[i] = at(serve(t, func(w http.ResponseWriter, r *http.Request) {
			if stopped[i].Load() {
				tooEarly.Add(1)
			}
			_, _ = io.Copy(w, r.Body)
		}))
	}
	p := &proxy.Proxy{}
	require.NoError(t, p.Apply(t.Context(), shopTable(targets...)))

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 6 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if w := ask(context.WithoutCancel(ctx), p, "GET", shopURL); w.Code != 200 {
					failed.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			p.Stats()
		}
	})
	for round := range 90 {
		i := round % members
		table := shopTable(targets...)
		if kind := round / members % 3; kind == 0 {
			table.Clusters[shop].Targets = append(append([]balancer.Target{}, targets[:i]...), targets[i+1:]...)
		} else if kind == 1 {
			c := append([]balancer.Target{}, targets...)
			c[i].Draining = true
			table.Clusters[shop].Targets = c
		} else { // the cluster makes place for another one with the same members
			table.Routes[0].Cluster = "acme.other"
			table.Clusters = map[topology.ClusterID]*balancer.Cluster{"acme.other": {
				Targets: append(append([]balancer.Target{}, targets[:i]...), targets[i+1:]...)}}
		}
		require.NoError(t, p.Apply(t.Context(), table))
		soon(t, func() bool {
			return p.Drained(shop, targets[i].TargetID) && p.Drained("acme.other", targets[i].TargetID)
		}, "drained")
		stopped[i].Store(true)
		for range 3 { // time enough for a late one to arrive
			require.Equal(t, 200, ask(t.Context(), p, "GET", shopURL).Code)
		}
		stopped[i].Store(false)
		require.NoError(t, p.Apply(t.Context(), shopTable(targets...)))
	}
	stop()
	wg.Wait()
	require.Zero(t, tooEarly.Load())
	require.Zero(t, failed.Load())
	s := p.Stats()[shop]
	require.Zero(t, s.InFlight)
	require.Zero(t, s.Errors)
}

// TestCountsSurviveTables: a member that comes and goes has its requests still.
func TestCountsSurviveTables(t *testing.T) {
	gate := make(chan struct{})
	began := make(chan struct{})
	held := at(serve(t, func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-gate
	}))
	p := &proxy.Proxy{}
	front(t, p, held)
	var wg sync.WaitGroup
	wg.Go(func() { ask(context.Background(), p, "GET", shopURL) })
	<-began
	for range 3 {
		require.NoError(t, p.Apply(t.Context(), shopTable()))
		require.Equal(t, 1, p.Stats()[shop].InFlightTargets[held.TargetID], "absent, and there")
		require.NoError(t, p.Apply(t.Context(), &balancer.Table{}))
		require.Empty(t, p.Stats())
		require.NoError(t, p.Apply(t.Context(), shopTable(held)))
		s := p.Stats()[shop]
		require.Equal(t, 1, s.InFlight)
		require.EqualValues(t, 1, s.Arrivals)
	}
	require.NoError(t, p.Apply(t.Context(), shopTable()))
	close(gate)
	wg.Wait()
	s := p.Stats()[shop]
	require.Empty(t, s.InFlightTargets)
	require.EqualValues(t, 1, s.Served)
	require.Positive(t, s.InFlightTime)
}

func TestLeastInFlightIsPreferred(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	began := make(chan struct{})
	var slow, quick atomic.Int64
	p := &proxy.Proxy{}
	front(t, p,
		at(serve(t, func(w http.ResponseWriter, r *http.Request) {
			slow.Add(1)
			began <- struct{}{}
			<-gate
		})),
		at(serve(t, func(w http.ResponseWriter, r *http.Request) { quick.Add(1) })))
	go ask(context.Background(), p, "GET", shopURL)
	<-began
	for range 10 {
		require.Equal(t, 200, ask(t.Context(), p, "GET", shopURL).Code)
	}
	require.EqualValues(t, 1, slow.Load())
	require.EqualValues(t, 10, quick.Load())
}
