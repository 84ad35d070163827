package stratos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/store"
)

const (
	leaderName = "control"        // what replicas campaign for
	leaderTTL  = 10 * time.Second // of the leader's lease
	closing    = 10 * time.Second // how long requests may go on after the end of Run's context
)

// Run runs the platform until ctx ends, which is a success, or something fails
// that cannot be mended here. All its goroutines have ended when it returns.
// The members live on: the next Run adopts them.
func (p *Platform) Run(ctx context.Context) error {
	apiLis, err := listen(p.cfg.API, "API")
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if p.proxy != nil {
		lis, err := listen(p.cfg.Listen, "balancer")
		if err != nil {
			return errors.Join(err, apiLis.Close())
		}
		server := proxy.Server(p.proxy)
		g.Go(func() error { return serve(ctx, server, lis) })
	}
	server := &http.Server{
		Handler:           p.apiServer().Handler(ctx, p.id),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	g.Go(func() error { return serve(ctx, server, apiLis) })
	g.Go(func() error { return p.mirror.Run(ctx) })
	sync := &balancer.Sync{Source: p.mirror, Backend: p.cfg.Balancer, Log: p.cfg.Log}
	g.Go(func() error { return sync.Run(ctx) })
	if stats, ok := p.cfg.Balancer.(balancer.StatReader); ok {
		g.Go(func() error { return p.sample(ctx, stats) })
	}
	g.Go(func() error { return p.campaign(ctx) })
	err = g.Wait()
	if p.proxy != nil {
		err = errors.Join(err, p.proxy.Close())
	}
	return err
}

func (p *Platform) apiServer() *api.Server {
	return &api.Server{
		Store: p.store, Topology: p.mirror, Controller: p.controller, Blobs: p.blobs,
		Recorder: p.recorder, Decisions: p.scaler.Decisions, Platform: p, Logs: p.logs,
		Token: p.token, Heartbeat: p.cfg.Heartbeat, Log: p.cfg.Log,
	}
}

// listen opens an address; what is it for is in the error.
func listen(addr, what string) (net.Listener, error) {
	lis, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the %s address %s is in use by another program: stop that one, or choose another address: %w", what, addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the %s address %s: %w", what, addr, err)
	}
	return lis, nil
}

// serve serves until ctx ends, then lets requests finish for a while.
func serve(ctx context.Context, s *http.Server, lis net.Listener) error {
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		err := s.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		done <- err
	})
	err := s.Serve(lis)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		return <-done
	}
	return err
}

// campaign leads whenever it can, until ctx ends.
func (p *Platform) campaign(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, err := store.Campaign(ctx, p.store, leaderName, p.cfg.Name, leaderTTL)
		if err == nil {
			err = p.lead(ctx, lead)
		}
		var fenced *store.FencedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &fenced), err == nil:
			p.log().Warn("no longer the leader", "err", err)
		default:
			return err
		}
	}
	return nil
}

// lead does what one replica does for all: it follows repositories, derives
// clusters, scales them, and turns wants into instances.
func (p *Platform) lead(ctx context.Context, lead *store.Leadership) (err error) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if rerr := lead.Resign(ctx); !errors.Is(rerr, store.ErrLeaseGone) { // gone is what was wanted
			err = errors.Join(err, rerr)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lead.Context(), cancel)()
	d := &deriver{Platform: p, guard: lead.Guard(), synchronised: map[artifact.Key]time.Time{}, wishes: map[artifact.Key]artifact.Wish{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.coordinator.Run(ctx, lead) })
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error { return p.controller.Run(ctx, lead) })
	g.Go(func() error { return p.scaler.Run(ctx, lead) })
	return g.Wait()
}

// Shutdown ends every instance of the platform, and returns when none is
// left, or ctx ends. It is called when Run has returned; the next Run launches anew.
func (p *Platform) Shutdown(ctx context.Context) (err error) {
	lead, err := store.Campaign(ctx, p.store, leaderName, p.cfg.Name, leaderTTL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lead.Resign(context.WithoutCancel(ctx))) }()
	return p.controller.Shutdown(ctx, lead)
}
