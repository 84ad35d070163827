package stratos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
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
		TLSConfig:         p.serverTLS(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(p.log().Handler(), slog.LevelDebug),
	}
	g.Go(func() error { return serve(ctx, server, apiLis) })
	g.Go(func() error { return p.insist(ctx, "topology", p.mirror.Run) })
	g.Go(func() error { return p.edge.run(ctx) })
	g.Go(func() error { return p.insist(ctx, "leadership", p.campaign) })
	if p.replica.shared {
		g.Go(func() error { return p.insist(ctx, "leader", p.followLeader) })
	}
	if p.replica.keeper != nil {
		g.Go(func() error { return p.replica.keeper.Run(ctx) })
	}
	err = g.Wait()
	if p.proxy != nil {
		err = errors.Join(err, p.proxy.Close())
	}
	p.replica.http.CloseIdleConnections()
	return err
}

// insist does what needs the store until ctx ends, and again when it fails: a
// store that is away, or full, comes back, and meanwhile the balancer goes on.
func (p *Platform) insist(ctx context.Context, what string, do func(context.Context) error) error {
	const least, most = 200 * time.Millisecond, 10 * time.Second
	for wait := least; ; wait = min(2*wait, most) {
		began := time.Now()
		err := do(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > most {
			wait = least
		}
		p.log().Error("control plane: trying again", "what", what, "err", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (p *Platform) apiServer() *api.Server {
	s := &api.Server{
		Store: p.store, Topology: p.mirror, Controller: p.controller, Blobs: p.blobs, Artifacts: p.coordinator,
		Recorder: p.recorder, Decisions: p.scaler.Decisions, Platform: p, Secrets: p, Backups: p.backups, Logs: p.logs,
		Scratch: p.cfg.Dir, Fleet: p.fleet, Leader: p.leading, Replicas: p.replica.http, ReplicaToken: p.replica.token,
		Heartbeat: p.cfg.Heartbeat, Log: p.cfg.Log,
	}
	if p.replica.ca != nil {
		s.Certify = p.certify
	}
	return s
}

// takeSamples brings reports to the leader, be it this replica.
func (p *Platform) takeSamples(ctx context.Context, reports []autoscale.Report) error {
	leader, self := p.leading()
	switch {
	case self:
		for _, r := range reports {
			if err := p.recorder.Record(r); err != nil {
				p.log().Warn("sample", "cluster", r.Cluster, "err", err)
			}
		}
		return nil
	case leader == "":
		return errNobodyLeads
	}
	return p.toLeader(leader).Samples(ctx, reports)
}

// takeStatus brings the built-in balancer's status to the leader, be it this replica.
func (p *Platform) takeStatus(ctx context.Context, s balancer.Status) error {
	leader, self := p.leading()
	switch {
	case self:
		return p.fleet.Heard(ctx, s)
	case leader == "":
		return errNobodyLeads
	}
	return p.toLeader(leader).BalancerStatus(ctx, s)
}

var errNobodyLeads = errors.New("nobody leads just now")

func (p *Platform) toLeader(url string) *client.Client {
	return &client.Client{
		URLs: []string{url}, Token: p.replica.token, Timeout: balancerCall,
		HTTP: &http.Client{Transport: p.replica.http},
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
	err := serveOn(s, lis)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		return <-done
	}
	return err
}

// serveOn serves TLS if the server has a configuration for it.
func serveOn(s *http.Server, lis net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(lis, "", "")
	}
	return s.Serve(lis)
}

// campaign leads whenever it can, until ctx ends.
func (p *Platform) campaign(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, err := store.Campaign(ctx, p.store, leaderName, p.candidate(), leaderTTL)
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
	if err := p.fleet.Load(ctx); err != nil {
		return err
	}
	p.log().Info("leading", "epoch", lead.Epoch())
	p.replica.leads.Store(true)
	defer p.replica.leads.Store(false)
	d := &deriver{Platform: p, guard: lead.Guard(), synchronised: map[artifact.Key]time.Time{}, wishes: map[artifact.Key]artifact.Wish{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.coordinator.Run(ctx, lead) })
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error { return p.controller.Run(ctx, lead) })
	g.Go(func() error { return p.scaler.Run(ctx, lead) })
	g.Go(func() error { return p.tidyFleet(ctx, lead.Guard()) })
	return g.Wait()
}

// tidyFleet forgets balancers that are gone, until ctx ends.
func (p *Platform) tidyFleet(ctx context.Context, guard store.Cond) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.fleet.Tidy(ctx, guard); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Shutdown ends every instance of the platform, and returns when none is
// left, or ctx ends. It is called when Run has returned; the next Run launches anew.
func (p *Platform) Shutdown(ctx context.Context) (err error) {
	lead, err := store.Campaign(ctx, p.store, leaderName, p.candidate(), leaderTTL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lead.Resign(context.WithoutCancel(ctx))) }()
	return p.controller.Shutdown(ctx, lead)
}
