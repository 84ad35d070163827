package balancertest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/topology"
)

// broken is a good balancer that breaks one promise.
type broken struct {
	*proxy.Proxy
	apply   func(ctx context.Context, t *balancer.Table) error
	stats   func(balancer.Stats) balancer.Stats
	drained func(bool) bool
	serve   func(w http.ResponseWriter, r *http.Request)
}

func (b *broken) Apply(ctx context.Context, t *balancer.Table) error {
	if b.apply != nil {
		return b.apply(ctx, t)
	}
	return b.Proxy.Apply(ctx, t)
}

func (b *broken) Stats() map[topology.ClusterID]balancer.Stats {
	all := b.Proxy.Stats()
	for id, s := range all {
		if b.stats != nil {
			all[id] = b.stats(s)
		}
	}
	return all
}

func (b *broken) Drained(c topology.ClusterID, t balancer.TargetID) bool {
	d := b.Proxy.Drained(c, t)
	if b.drained != nil {
		return b.drained(d)
	}
	return d
}

func (b *broken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.serve != nil {
		b.serve(w, r)
		return
	}
	b.Proxy.ServeHTTP(w, r)
}

// changed is a table with every target changed.
func changed(t *balancer.Table, change func(i int, t *balancer.Target)) *balancer.Table {
	c := &balancer.Table{Rev: t.Rev, Routes: t.Routes, Clusters: map[topology.ClusterID]*balancer.Cluster{}}
	for id, from := range t.Clusters {
		to := *from
		to.Targets = append([]balancer.Target{}, from.Targets...)
		for i := range to.Targets {
			change(i, &to.Targets[i])
		}
		c.Clusters[id] = &to
	}
	return c
}

// TestTheKitSeesBrokenPromises breaks one promise at a time.
func TestTheKitSeesBrokenPromises(t *testing.T) {
	tests := []struct {
		name  string // of the promise that must fail
		how   string
		spoil func(b *broken)
	}{
		{"RequestsAreSharedEvenly", "one member gets nothing", func(b *broken) {
			b.apply = func(ctx context.Context, t *balancer.Table) error {
				return b.Proxy.Apply(ctx, changed(t, func(i int, t *balancer.Target) { t.Draining = i == 0 }))
			}
		}},
		{"UnknownHostIs404", "everything is the shop", func(b *broken) {
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				r.Host = shopHost
				b.Proxy.ServeHTTP(w, r)
			}
		}},
		{"UnknownHostIs404", "hosts are compared by their letters", func(b *broken) {
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.Host != shopHost {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				b.Proxy.ServeHTTP(w, r)
			}
		}},
		{"TheLongestPathWins", "paths are ignored", func(b *broken) {
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = "/"
				b.Proxy.ServeHTTP(w, r)
			}
		}},
		{"NoTargetWaitsOrIs503", "502", func(b *broken) {
			b.QueueLength = -1
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				b.Proxy.ServeHTTP(rec, r)
				w.WriteHeader(http.StatusBadGateway)
			}
		}},
		{"NoTargetWaitsOrIs503", "503 without Retry-After", func(b *broken) {
			b.QueueLength = -1
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				b.Proxy.ServeHTTP(rec, r)
				w.WriteHeader(rec.Code)
			}
		}},
		{"ATableIsWhole", "clusters stay", func(b *broken) {
			var former atomic.Pointer[balancer.Table]
			b.apply = func(ctx context.Context, t *balancer.Table) error {
				if old := former.Swap(t); old != nil && len(old.Routes) > len(t.Routes) {
					return nil
				}
				return b.Proxy.Apply(ctx, t)
			}
		}},
		{"ATableIsWhole", "an Apply that says so is not done", func(b *broken) {
			b.apply = func(context.Context, *balancer.Table) error { return nil }
		}},
		{"UpdatesLoseNoRequest", "the old ones go before the new ones come", func(b *broken) {
			b.QueueLength = -1
			b.apply = func(ctx context.Context, t *balancer.Table) error {
				loaded := b.Proxy.Stats()[shop].Arrivals > 0
				none := changed(t, func(_ int, t *balancer.Target) { t.Draining = true })
				if err := b.Proxy.Apply(ctx, none); err != nil {
					return err
				}
				if loaded { // leave the gap open until somebody falls into it
					err := eventually(ctx, func() error {
						if b.Proxy.Stats()[shop].Errors == 0 {
							return errors.New("no error yet")
						}
						return nil
					})
					if err != nil {
						return err
					}
				}
				return b.Proxy.Apply(ctx, t)
			}
		}},
		{"ARefusedConnectionIsNoError", "no second try", func(b *broken) {
			b.serve = oneTry(b)
		}},
		{"APostReachesAMemberOnce", "sent twice", func(b *broken) {
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					again := httptest.NewRequest(http.MethodPost, "/", nil)
					again.Host = r.Host
					b.Proxy.ServeHTTP(httptest.NewRecorder(), again)
				}
				b.Proxy.ServeHTTP(w, r)
			}
		}},
		{"ADrainingTargetFinishes", "draining is ignored", func(b *broken) {
			b.apply = func(ctx context.Context, t *balancer.Table) error {
				return b.Proxy.Apply(ctx, changed(t, func(_ int, t *balancer.Target) { t.Draining = false }))
			}
		}},
		{"ADrainingTargetFinishes", "a new table cuts off requests", func(b *broken) {
			var mu sync.Mutex
			life, end := context.WithCancel(context.Background())
			b.apply = func(ctx context.Context, t *balancer.Table) error {
				mu.Lock()
				defer mu.Unlock()
				end()
				life, end = context.WithCancel(context.Background())
				return b.Proxy.Apply(ctx, t)
			}
			b.serve = func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				ends := life
				mu.Unlock()
				ctx, cut := context.WithCancel(r.Context())
				defer cut()
				defer context.AfterFunc(ends, cut)()
				b.Proxy.ServeHTTP(w, r.WithContext(ctx))
			}
		}},
		{"DrainedIsTheTruth", "always", func(b *broken) { b.drained = func(bool) bool { return true } }},
		{"DrainedIsTheTruth", "never", func(b *broken) { b.drained = func(bool) bool { return false } }},
		{"InFlightIsTheTruth", "one too many", func(b *broken) {
			b.stats = func(s balancer.Stats) balancer.Stats { s.InFlight++; return s }
		}},
		{"InFlightIsTheTruth", "no counts of targets", func(b *broken) {
			b.stats = func(s balancer.Stats) balancer.Stats { s.InFlightTargets = nil; return s }
		}},
		{"InFlightIsTheTruth", "the integral is off", func(b *broken) {
			b.stats = func(s balancer.Stats) balancer.Stats { s.InFlightTime *= 2; return s }
		}},
		{"InFlightIsTheTruth", "nothing is served", func(b *broken) {
			b.stats = func(s balancer.Stats) balancer.Stats { s.Served = 0; return s }
		}},
		{"AKilledMemberHasNothingInFlight", "requests are never over", func(b *broken) {
			b.stats = func(s balancer.Stats) balancer.Stats {
				s.InFlight = max(s.InFlight, min(int(s.Arrivals), 50))
				return s
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name+"/"+test.how, func(t *testing.T) {
			t.Parallel()
			b := &broken{Proxy: &proxy.Proxy{}}
			test.spoil(b)
			s := httptest.NewServer(b)
			t.Cleanup(func() {
				s.CloseClientConnections()
				s.Close()
			})
			// What never becomes true is seen when patience ends: the shorter,
			// the sooner. Only failures are wanted here.
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			require.Error(t, find(t, test.name).keep(ctx, Harness{Backend: b, URL: s.URL}))
		})
	}
}

// oneTry sends a request to a member of the table and nowhere else.
func oneTry(b *broken) func(w http.ResponseWriter, r *http.Request) {
	var next atomic.Int64
	var table atomic.Pointer[balancer.Table]
	b.apply = func(ctx context.Context, t *balancer.Table) error {
		table.Store(t)
		return b.Proxy.Apply(ctx, t)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		all := table.Load().Clusters[shop].Targets
		one := all[int(next.Add(1))%len(all)]
		p := &proxy.Proxy{}
		defer p.Close()
		t := &balancer.Table{Routes: table.Load().Routes, Clusters: map[topology.ClusterID]*balancer.Cluster{
			shop: {ID: shop, Targets: []balancer.Target{one}},
		}}
		if err := p.Apply(r.Context(), t); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		p.ServeHTTP(w, r)
	}
}

func find(t *testing.T, name string) promise {
	for _, p := range promises() {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no promise %s", name)
	return promise{}
}

// TestAPlainBackendIsEnough: what a backend does not implement is not asked of it.
func TestAPlainBackendIsEnough(t *testing.T) {
	Run(t, func(t *testing.T) Harness {
		p := &proxy.Proxy{}
		s := httptest.NewServer(p)
		t.Cleanup(s.Close)
		return Harness{Backend: struct{ balancer.Backend }{p}, URL: s.URL}
	})
}
