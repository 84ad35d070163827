package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// maxSynchronise is how long a caller can wait for what comes of a look.
const maxSynchronise = 10 * time.Minute

// synchronise has a repository looked at. Who wants to know what came of it
// says how long to wait: that is for the leader to answer.
func (s *Server) synchronise(w http.ResponseWriter, r *http.Request) error {
	if !r.URL.Query().Has("wait") {
		return s.prompt(s.askToSynchronise)(w, r)
	}
	s.led(s.bearing(s.awaitSynchronised, tenant.TokenAdmin)).ServeHTTP(w, r)
	return nil
}

func (s *Server) askToSynchronise(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.Synchronise(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) awaitSynchronised(w http.ResponseWriter, r *http.Request) error {
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil || wait <= 0 || wait > maxSynchronise {
		return fmt.Errorf("%w: wait=%q: want a time above 0, at most %s, as in 30s", errBadRequest, r.URL.Query().Get("wait"), maxSynchronise)
	}
	k := artifact.Key{Tenant: r.PathValue("tenant"), Alias: r.PathValue("alias")}
	if err := s.isSubscription(r.Context(), k); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	out, err := s.synchronised(ctx, k)
	if err != nil && (r.Context().Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return err
	}
	s.reply(w, out)
	return nil
}

// isSubscription says whether there is such a subscription: the coordinator
// does not know the newest.
func (s *Server) isSubscription(ctx context.Context, k artifact.Key) error {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	_, err := store.Read[tenant.Subscription](ctx, s.Store, tenant.SubscriptionKey(tenant.ID(k.Tenant), k.Alias))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("tenant %s has no subscription %q: %w", k.Tenant, k.Alias, err)
	}
	return err
}

// synchronised looks, and waits until there is nothing more to wait for. What
// is known when ctx ends is returned with its error.
func (s *Server) synchronised(ctx context.Context, k artifact.Key) (client.Synchronised, error) {
	out := client.Synchronised{Members: []client.Serving{}}
	repo, err := s.Artifacts.Synchronise(ctx, k)
	for errors.Is(err, store.ErrNotFound) && ctx.Err() == nil { // it was not told of the subscription yet
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		repo, err = s.Artifacts.Synchronise(ctx, k)
	}
	if err != nil {
		return out, errors.Join(err, ctx.Err())
	}
	out.Head, out.Error, out.Problem = repo.Head, repo.Error, repo.Problem
	for rev := store.Revision(0); ; {
		v, err := s.Topology.Next(ctx, rev)
		if err != nil {
			return out, errors.Join(err, ctx.Err())
		}
		rev = v.Rev
		if c := v.Cluster(topology.SubscriptionCluster(topology.TenantID(k.Tenant), k.Alias)); c != nil {
			out = settle(out, c)
		}
		if out.Settled || repo.Error != "" {
			return out, nil
		}
	}
}

// settle says how far a cluster is with the head.
func settle(out client.Synchronised, c *topology.ClusterView) client.Synchronised {
	cl := c.Cluster
	out.Members, out.Refused, out.Waits = []client.Serving{}, "", cl.Waits
	all := true
	for _, m := range c.Members() {
		if m.State == topology.Terminated || m.State == topology.Terminating {
			continue
		}
		serving := client.Serving{Member: m.ID, State: m.State}
		if m.Serving != nil {
			serving.Revision = m.Serving.Release.Revision
		}
		out.Members = append(out.Members, serving)
		all = all && (m.State != topology.Active || serving.Revision == out.Head)
	}
	refused := cl.Refused != nil && cl.Refused.Release.Revision == out.Head && cl.Candidate == nil
	if refused {
		out.Refused = cl.Refused.Reason
	}
	current := cl.Current != nil && cl.Current.Revision == out.Head && cl.Candidate == nil && all
	out.Settled = out.Head != "" && out.Error == "" && (refused || current)
	return out
}
