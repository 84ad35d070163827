package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/mock"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/topology"
)

// errMeasured ends a run that has shown what it should.
var errMeasured = errors.New("measured")

// backend is the built-in proxy without its listener: it tells when it has a
// table with every cluster.
type backend struct {
	*proxy.Proxy
	clusters int
	full     chan struct{} // of one
}

func (b *backend) Apply(ctx context.Context, t *balancer.Table) error {
	err := b.Proxy.Apply(ctx, t)
	if err == nil && len(t.Clusters) >= b.clusters {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	return err
}

// serve starts a platform on a data folder, and measures until it has settled
// and rested for a while.
func serve(ctx context.Context, dir string, o options, raise bool) (f figures, err error) {
	c, err := prepare(ctx, dir, o.Clusters, raise)
	if err != nil {
		return f, err
	}
	f.Cloud = live()
	profiled := func() error { return nil }
	if o.Profile != "" {
		if profiled, err = profile(o.Profile); err != nil {
			return f, err
		}
	}
	used, err := cpu()
	if err != nil {
		return f, err
	}
	m := &measured{figures: &f, began: time.Now(), used: used, clusters: o.Clusters, raise: raise, rest: o.Rest, profiled: profiled}
	cfg := config(dir, c)
	m.backend = &backend{Proxy: &proxy.Proxy{}, clusters: o.Clusters, full: make(chan struct{}, 1)}
	cfg.Balancer = m.backend
	if cfg.API, err = freeAddress(); err != nil {
		return f, err
	}
	if m.Platform, err = stratos.New(cfg); err != nil {
		return f, err
	}
	f.Opened = m.since()
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(running) })
	g.Go(func() error {
		if err := m.measure(running); err != nil {
			return err
		}
		return errMeasured
	})
	if err = g.Wait(); errors.Is(err, errMeasured) {
		err = nil
	}
	return f, errors.Join(err, m.Close(), m.backend.Close())
}

// prepare makes the cloud with the instances that the store speaks of, and
// raises wants: of every cluster, or of the one that is looked at last.
func prepare(ctx context.Context, dir string, clusters int, raise bool) (c *mock.Cloud, err error) {
	s, err := bolt.Open(filepath.Join(dir, "stratos.db"), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	id, err := s.ID(ctx)
	if err != nil {
		return nil, err
	}
	c = &mock.Cloud{}
	w := &writer{store: s}
	for n := range clusters {
		for i := range perCluster {
			m := memberID(n, i)
			_, err := c.Launch(ctx, cloud.Spec{Name: string(m), Tags: map[string]string{
				cloud.TagOwner: id.UUID, cloud.TagGen: strconv.FormatInt(id.Generation, 10),
				cloud.TagMember: string(m), cloud.TagCluster: string(clusterID(n)),
			}})
			if err != nil {
				return nil, err
			}
		}
		if raise {
			w.add(ctx, topology.WantKey(clusterID(n)), want(clusterID(n), perCluster+1))
		}
	}
	if !raise {
		last := lastCluster(clusters)
		w.add(ctx, topology.WantKey(last), want(last, perCluster+1))
	}
	return c, w.flush(ctx)
}

// lastCluster is the one whose id sorts last: a leader that begins looks at
// clusters in the order of their ids.
func lastCluster(clusters int) (last topology.ClusterID) {
	for n := range clusters {
		last = max(last, clusterID(n))
	}
	return last
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// profile writes a profile of the CPU until stop, and one of the heap then.
func profile(path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(path + ".heap")
		if err != nil {
			return errors.Join(err, file.Close())
		}
		return errors.Join(pprof.WriteHeapProfile(heap), heap.Close(), file.Close())
	}, nil
}

// measured is a platform that runs, and what is known of it.
type measured struct {
	*stratos.Platform
	*figures
	backend  *backend
	began    time.Time
	used     time.Duration // of CPU, before it began
	clusters int
	raise    bool
	rest     time.Duration
	profiled func() error // ends the profile
}

func (m *measured) since() float64 { return ms(time.Since(m.began)) }

func (m *measured) measure(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := m.Topology().Next(gctx, 0)
		m.Viewed = m.since()
		return err
	})
	g.Go(func() error {
		select {
		case <-m.backend.full:
			m.Served = m.since()
		case <-gctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		err := m.ask(gctx)
		m.Answered = m.since()
		return err
	})
	g.Go(func() error {
		err := m.launched(gctx)
		if m.raise {
			m.Launched = m.since()
		} else {
			m.Looked = m.since()
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if m.raise {
		used, err := cpu()
		m.LaunchCPU = ms(used - m.used)
		return errors.Join(err, m.profiled())
	}
	return m.atRest(ctx)
}

// ask reads the snapshot of one cluster until there is an answer.
func (m *measured) ask(ctx context.Context) error {
	token, err := os.ReadFile(filepath.Join(m.Config().Dir, "admin.token"))
	if err != nil {
		return err
	}
	u := m.Config().URL + "/v1/topology?scope=" + url.QueryEscape("cluster="+string(lastCluster(m.clusters)))
	for wait := time.NewTicker(5 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
			if resp.StatusCode/100 == 4 {
				return fmt.Errorf("the API answered %s", resp.Status)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// launched waits until every cluster whose want was raised has its new member,
// with its instance.
func (m *measured) launched(ctx context.Context) error {
	missing := map[topology.ClusterID]bool{lastCluster(m.clusters): true}
	for n := 0; m.raise && n < m.clusters; n++ {
		missing[clusterID(n)] = true
	}
	var last *topology.View
	for rev := store.Revision(0); len(missing) > 0; rev = last.Rev {
		v, err := m.Topology().Next(ctx, rev)
		if err != nil {
			return err
		}
		for id := range v.Changed(last) {
			if v.Cluster(id).Count(topology.Initialized) == 1 {
				delete(missing, id)
			}
		}
		last = v
	}
	return nil
}

// atRest waits until the process has hardly used the CPU for six seconds, which
// is more than a scaling interval, and then watches it for a while.
func (m *measured) atRest(ctx context.Context) error {
	const window, hardly = 6 * time.Second, 2 * time.Second
	for {
		before, after, err := m.watch(ctx, window)
		if err != nil {
			return err
		}
		if after-before < hardly {
			m.StartCPU = ms(after - m.used)
			break
		}
	}
	m.Goroutines = float64(runtime.NumGoroutine())
	before, after, err := m.watch(ctx, m.rest)
	if err != nil {
		return err
	}
	m.RestCPU = 100 * (after - before).Seconds() / m.rest.Seconds()
	if m.Resident, m.Mapped, err = resident(); err != nil {
		return err
	}
	m.Live = live()
	if m.Trimmed, _, err = resident(); err != nil {
		return err
	}
	return m.profiled()
}

// watch returns the CPU time used before and after a while.
func (m *measured) watch(ctx context.Context, d time.Duration) (before, after time.Duration, err error) {
	if before, err = cpu(); err != nil {
		return 0, 0, err
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(d):
	}
	after, err = cpu()
	return before, after, err
}
