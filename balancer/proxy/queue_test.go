package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/topology"
)

const shopURL = "http://" + shopHost + "/"

// bubble is a proxy with a network, in synthetic time: what takes time in it
// takes exactly that.
func bubble(t *testing.T, p *proxy.Proxy, check func(t *testing.T, n *network)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p.Dial = n.dial
		check(t, n)
		require.NoError(t, p.Close())
	})
}

// sleeper answers after the time that stands in the query.
func sleeper(w http.ResponseWriter, r *http.Request) {
	d, _ := time.ParseDuration(r.URL.Query().Get("for"))
	select {
	case <-time.After(d): // synthetic
	case <-r.Context().Done():
	}
	_, _ = io.WriteString(w, "slept")
}

func TestIntegralsAreExact(t *testing.T) {
	p := &proxy.Proxy{}
	bubble(t, p, func(t *testing.T, n *network) {
		stop := n.serve("10.0.0.1:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
		defer stop()
		ctx := t.Context()
		require.NoError(t, p.Apply(ctx, shopTable()))

		var wg sync.WaitGroup
		for _, d := range []string{"3s", "5s", "10s"} {
			wg.Go(func() { ask(ctx, p, "GET", shopURL+"?for="+d) })
		}
		synctest.Wait()
		time.Sleep(2 * time.Second) // all three wait for a member
		s := p.Stats()[shop]
		require.Equal(t, 3, s.Queued)
		require.Equal(t, 6*time.Second, s.QueuedTime)
		require.Zero(t, s.InFlight)

		require.NoError(t, p.Apply(ctx, shopTable(at("10.0.0.1:80"))))
		time.Sleep(4 * time.Second)
		s = p.Stats()[shop]
		require.Equal(t, 0, s.Queued)
		require.Equal(t, 6*time.Second, s.QueuedTime)
		require.Equal(t, 2, s.InFlight)
		require.Equal(t, 11*time.Second, s.InFlightTime, "3 + 4 + 4")
		require.Equal(t, map[balancer.TargetID]int{at("10.0.0.1:80").TargetID: 2}, s.InFlightTargets)

		wg.Wait()
		s = p.Stats()[shop]
		require.Zero(t, s.InFlight)
		require.Equal(t, 18*time.Second, s.InFlightTime, "3 + 5 + 10")
		require.EqualValues(t, 3, s.Arrivals)
		require.EqualValues(t, 3, s.Served)
		require.Zero(t, s.Errors)
	})
}

func TestQueue(t *testing.T) {
	type result struct {
		status     int
		after      time.Duration
		retryAfter string
	}
	tests := []struct {
		name     string
		proxy    *proxy.Proxy
		waiting  int // before the request
		then     func(ctx context.Context, p *proxy.Proxy) error
		want     result
		wantErrs uint64
	}{
		{"served when a member appears", &proxy.Proxy{}, 0,
			func(ctx context.Context, p *proxy.Proxy) error { return p.Apply(ctx, shopTable(at("10.0.0.1:80"))) },
			result{200, time.Second, ""}, 0},
		{"told to come again when none does", &proxy.Proxy{QueueTimeout: 7 * time.Second}, 0, nil,
			result{503, 7 * time.Second, "5"}, 1},
		{"a draining member does not count", &proxy.Proxy{QueueTimeout: 7 * time.Second}, 0,
			func(ctx context.Context, p *proxy.Proxy) error {
				return p.Apply(ctx, shopTable(draining(at("10.0.0.1:80"))))
			},
			result{503, 7 * time.Second, "5"}, 1},
		{"told at once when the queue is full", &proxy.Proxy{QueueLength: 2, RetryAfter: 90 * time.Second}, 2, nil,
			result{503, 0, "90"}, 3},
		{"told at once without a queue", &proxy.Proxy{QueueLength: -1}, 0, nil,
			result{503, 0, "5"}, 1},
		{"its cluster goes", &proxy.Proxy{}, 0,
			func(ctx context.Context, p *proxy.Proxy) error { return p.Apply(ctx, &balancer.Table{}) },
			result{404, time.Second, ""}, 0},
		{"its host moves to another cluster", &proxy.Proxy{}, 0,
			func(ctx context.Context, p *proxy.Proxy) error {
				to := shopTable(at("10.0.0.1:80"))
				to.Routes[0].Cluster = "other"
				to.Clusters = map[topology.ClusterID]*balancer.Cluster{"other": to.Clusters[shop]}
				return p.Apply(ctx, to)
			},
			result{200, time.Second, ""}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := test.proxy
			bubble(t, p, func(t *testing.T, n *network) {
				stop := n.serve("10.0.0.1:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
				defer stop()
				ctx := t.Context()
				require.NoError(t, p.Apply(ctx, shopTable()))
				var wg sync.WaitGroup
				for range test.waiting {
					wg.Go(func() { ask(ctx, p, "GET", shopURL) })
				}
				synctest.Wait()

				began := time.Now()
				var got result
				wg.Go(func() {
					w := ask(ctx, p, "GET", shopURL)
					got = result{w.Code, time.Since(began), w.Header().Get("Retry-After")}
				})
				if test.then != nil {
					time.Sleep(time.Second)
					require.Equal(t, 1, p.Stats()[shop].Queued)
					require.NoError(t, test.then(ctx, p))
				}
				wg.Wait()
				require.Equal(t, test.want, got)
				s := p.Stats()[shop]
				require.Zero(t, s.Queued)
				require.Equal(t, test.wantErrs, s.Errors)
			})
		})
	}
}

func TestAVacantClusterAnswersAtOnce(t *testing.T) {
	p := &proxy.Proxy{}
	bubble(t, p, func(t *testing.T, n *network) {
		table := shopTable()
		table.Clusters[shop].Vacant = true
		require.NoError(t, p.Apply(t.Context(), table))
		began := time.Now()
		w := ask(t.Context(), p, "GET", shopURL)
		require.Equal(t, 503, w.Code)
		require.Equal(t, "5", w.Header().Get("Retry-After"))
		require.Contains(t, w.Body.String(), "no release")
		require.Zero(t, time.Since(began))
		require.Equal(t, uint64(1), p.Stats()[shop].Errors)
	})
}

func TestAWaitingClientThatLeavesIsForgotten(t *testing.T) {
	p := &proxy.Proxy{}
	bubble(t, p, func(t *testing.T, n *network) {
		require.NoError(t, p.Apply(t.Context(), shopTable()))
		ctx, leave := context.WithTimeout(t.Context(), 3*time.Second)
		defer leave()
		ask(ctx, p, "GET", shopURL)
		s := p.Stats()[shop]
		require.Equal(t, 3*time.Second, s.QueuedTime)
		require.Zero(t, s.Queued)
		require.Zero(t, s.Errors)
		require.Zero(t, s.Served)
		require.EqualValues(t, 1, s.Arrivals)
	})
}

func TestAFailingTargetIsAvoidedAndProbed(t *testing.T) {
	p := &proxy.Proxy{AvoidFor: 10 * time.Second}
	bubble(t, p, func(t *testing.T, n *network) {
		stop := n.serve("10.0.0.1:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
		defer stop()
		require.NoError(t, p.Apply(t.Context(), shopTable(at("10.0.0.1:80"), at("10.0.0.2:80"))))
		askAll := func() {
			for range 20 {
				require.Equal(t, 200, ask(t.Context(), p, "POST", shopURL).Code)
			}
		}
		askAll()
		require.Equal(t, 1, n.dialled("10.0.0.2:80"), "avoided after the first failure")
		time.Sleep(10 * time.Second)
		askAll()
		require.Equal(t, 2, n.dialled("10.0.0.2:80"), "probed once")

		back := n.serve("10.0.0.2:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
		defer back()
		askAll()
		require.Equal(t, 2, n.dialled("10.0.0.2:80"), "avoided still")
		time.Sleep(10 * time.Second)
		askAll()
		require.Greater(t, n.dialled("10.0.0.2:80"), 2, "probed, and back")
	})
}

func TestTheOnlyTargetIsNotAvoided(t *testing.T) {
	p := &proxy.Proxy{AvoidFor: time.Hour}
	bubble(t, p, func(t *testing.T, n *network) {
		require.NoError(t, p.Apply(t.Context(), shopTable(at("10.0.0.1:80"))))
		require.Equal(t, 502, ask(t.Context(), p, "GET", shopURL).Code)
		stop := n.serve("10.0.0.1:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
		defer stop()
		require.Equal(t, 200, ask(t.Context(), p, "GET", shopURL).Code)
	})
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		proxy *proxy.Proxy
		query string
		want  int
		after time.Duration
	}{
		{"in time", &proxy.Proxy{AnswerTimeout: 4 * time.Second}, "?for=3s", 200, 3 * time.Second},
		{"too late", &proxy.Proxy{AnswerTimeout: 4 * time.Second}, "?for=5s", 504, 4 * time.Second},
		{"a minute by default", &proxy.Proxy{}, "?for=1h", 504, time.Minute},
		{"no limit", &proxy.Proxy{AnswerTimeout: -1}, "?for=1h", 200, time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.proxy, func(t *testing.T, n *network) {
				for _, address := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
					defer n.serve(address, &http.Server{Handler: http.HandlerFunc(sleeper)})()
				}
				require.NoError(t, test.proxy.Apply(t.Context(), shopTable(at("10.0.0.1:80"), at("10.0.0.2:80"))))
				began := time.Now()
				require.Equal(t, test.want, ask(t.Context(), test.proxy, "GET", shopURL+test.query).Code)
				require.Equal(t, test.after, time.Since(began))
			})
		})
	}
}

func TestADialThatHangsIsGivenUp(t *testing.T) {
	p := &proxy.Proxy{DialTimeout: 2 * time.Second, AvoidFor: 10 * time.Second}
	bubble(t, p, func(t *testing.T, n *network) {
		n.hosts["10.0.0.1:80"] = make(chan net.Conn) // nobody accepts
		stop := n.serve("10.0.0.2:80", &http.Server{Handler: http.HandlerFunc(sleeper)})
		defer stop()
		require.NoError(t, p.Apply(t.Context(), shopTable(at("10.0.0.1:80"), at("10.0.0.2:80"))))
		began := time.Now()
		require.Equal(t, 200, ask(t.Context(), p, "POST", shopURL).Code)
		require.Equal(t, 2*time.Second, time.Since(began))

		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { ask(t.Context(), p, "POST", shopURL) })
		}
		wg.Wait()
		require.Equal(t, 2, n.dialled("10.0.0.1:80"), "one of ten found out for the others")
	})
}

func TestServerEndsSlowHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		stop := n.serve("front:80", proxy.Server(&proxy.Proxy{}))
		defer stop()
		c, err := n.dial(t.Context(), "tcp", "front:80")
		require.NoError(t, err)
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: ")
		require.NoError(t, err)
		began := time.Now()
		_, err = io.ReadAll(c)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 10*time.Second)
		require.NoError(t, c.Close())
	})
}

func TestBeforeTheFirstTable(t *testing.T) {
	p := &proxy.Proxy{}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", shopURL, nil))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
	require.False(t, p.Drained(shop, at("10.0.0.1:80").TargetID), "nothing is known yet")
	require.Empty(t, p.Stats())
}
