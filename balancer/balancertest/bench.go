package balancertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// The cluster that most checks use, and its host.
const (
	shop     = topology.ClusterID("acme.shop")
	shopHost = "shop.example"
)

// bench is a balancer under test with members and a client.
type bench struct {
	Harness
	client  *http.Client
	members []*member
	rev     store.Revision
}

func newBench(h Harness) *bench {
	return &bench{Harness: h, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

func (b *bench) close() {
	b.client.CloseIdleConnections()
	for _, m := range b.members {
		m.kill()
	}
}

// start starts members.
func (b *bench) start(n int) []*member {
	from := len(b.members)
	for i := range n {
		b.members = append(b.members, newMember(fmt.Sprintf("m%02d", from+i)))
	}
	return b.members[from:]
}

// apply makes the members the targets of the shop, some of them draining.
func (b *bench) apply(ctx context.Context, serving, draining []*member) error {
	return b.applyTable(ctx, map[topology.ClusterID][]balancer.Target{
		shop: append(targets(serving, false), targets(draining, true)...),
	}, balancer.Route{Host: shopHost, Cluster: shop})
}

func (b *bench) applyTable(ctx context.Context, clusters map[topology.ClusterID][]balancer.Target, routes ...balancer.Route) error {
	b.rev++
	t := &balancer.Table{Rev: b.rev, Clusters: map[topology.ClusterID]*balancer.Cluster{}}
	for id, targets := range clusters {
		t.Clusters[id] = &balancer.Cluster{ID: id, Targets: targets}
	}
	for _, r := range routes {
		r.Port, r.Protocol = balancer.HTTP, balancer.HTTP
		t.Routes = append(t.Routes, r)
	}
	if err := b.Backend.Apply(ctx, t); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

func targets(members []*member, draining bool) []balancer.Target {
	var all []balancer.Target
	for _, m := range members {
		t := m.target()
		t.Draining = draining
		all = append(all, t)
	}
	return all
}

// answer is what came back: the member's name is in the body's first word.
type answer struct {
	status     int
	member     string
	body       string
	retryAfter string
}

// ask sends a request and reads the whole answer.
func (b *bench) ask(ctx context.Context, method, host, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.URL+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Host = host
	res, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, fmt.Errorf("status %d, then: %w", res.StatusCode, err)
	}
	name, _, _ := strings.Cut(string(text), " ")
	return answer{res.StatusCode, name, string(text), res.Header.Get("Retry-After")}, nil
}

// want sends a GET to the shop and complains unless a member answered it.
func (b *bench) want(ctx context.Context) (string, error) {
	a, err := b.ask(ctx, http.MethodGet, shopHost, "/", "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return a.member, err
}

// hold sends requests that members do not answer before they are let go, and
// returns when all have reached one. The returned function waits for them.
func (b *bench) hold(ctx context.Context, n int, among ...*member) (wait func() []error, err error) {
	before := holding(among)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			a, err := b.ask(ctx, http.MethodGet, shopHost, "/hold", "")
			if err == nil && !strings.HasSuffix(a.body, " end") {
				err = fmt.Errorf("status %d, answer %q", a.status, a.body)
			}
			errs[i] = err
		})
	}
	err = eventually(ctx, func() error {
		if now := holding(among) - before; now != n {
			return fmt.Errorf("%d of %d requests have reached a member", now, n)
		}
		return nil
	})
	return func() []error { wg.Wait(); return errs }, err
}

func holding(members []*member) (n int) {
	for _, m := range members {
		n += int(m.holding.Load())
	}
	return n
}

// member is a server behind the balancer.
type member struct {
	id      topology.MemberID
	server  *httptest.Server
	holding atomic.Int64 // requests
	posts   atomic.Int64
	letGo   func()
	die     sync.Once
}

func newMember(id string) *member {
	m := &member{id: topology.MemberID(id)}
	gate := make(chan struct{})
	m.letGo = sync.OnceFunc(func() { close(gate) })
	m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hold":
			m.holding.Add(1)
			defer m.holding.Add(-1)
			_, _ = io.WriteString(w, id+" begin")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-gate:
				_, _ = io.WriteString(w, " end")
			case <-r.Context().Done():
			}
		default:
			if r.Method == http.MethodPost {
				m.posts.Add(1)
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, id+" "+string(body))
		}
	}))
	return m
}

// kill ends the member as a crash would: its connections break.
func (m *member) kill() {
	m.die.Do(func() {
		m.server.Listener.Close()
		m.server.CloseClientConnections()
		m.letGo()
		m.server.Close()
	})
}

func (m *member) target() balancer.Target {
	address := m.server.Listener.Addr().String()
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return balancer.Target{
		TargetID: balancer.TargetID{Member: m.id, Address: address},
		Host:     host,
		Ports:    map[string]int{balancer.HTTP: n},
	}
}
