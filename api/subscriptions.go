package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

func (s *Server) samples(w http.ResponseWriter, r *http.Request) error {
	var raw json.RawMessage
	if err := decode(r, &raw); err != nil {
		return err
	}
	var reports []autoscale.Report
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &reports); err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
	} else {
		reports = make([]autoscale.Report, 1)
		if err := json.Unmarshal(raw, &reports[0]); err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
	}
	var errs []error // a report that is refused keeps no other from being taken
	for _, rep := range reports {
		if err := s.Recorder.Record(rep); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) decisions(w http.ResponseWriter, r *http.Request) error {
	all := s.Decisions(topology.ClusterID(r.PathValue("cluster")))
	if all == nil {
		all = []autoscale.Decision{}
	}
	s.reply(w, all)
	return nil
}

// subscriptionState is all that there is to know about a subscription.
type subscriptionState struct {
	Subscription tenant.Subscription  `json:"subscription"`
	Repository   *artifact.Repository `json:"repository,omitempty"`
	Cluster      *topology.Cluster    `json:"cluster,omitempty"`
	Want         *topology.Want       `json:"want,omitempty"`
	Members      []topology.Member    `json:"members"`
}

func (s *Server) subscription(w http.ResponseWriter, r *http.Request) error {
	t, alias := tenant.ID(r.PathValue("tenant")), r.PathValue("alias")
	sub, err := store.Read[tenant.Subscription](r.Context(), s.Store, tenant.SubscriptionKey(t, alias))
	if err != nil {
		return err
	}
	out := subscriptionState{Subscription: sub.Value, Members: []topology.Member{}}
	repo, err := store.Read[artifact.Repository](r.Context(), s.Store, artifact.RepositoryKey(artifact.Key{Tenant: string(t), Alias: alias}))
	switch {
	case err == nil:
		out.Repository = &repo.Value
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	v, err := s.Topology.Next(r.Context(), 0)
	if err != nil {
		return err
	}
	if c := v.Cluster(topology.SubscriptionCluster(topology.TenantID(t), alias)); c != nil {
		out.Cluster, out.Want = &c.Cluster, c.Want
		for _, m := range c.Members() {
			out.Members = append(out.Members, m.Public())
		}
	}
	s.reply(w, out)
	return nil
}

// putCredentials takes what opens the subscription's repository. It is never
// given out again.
func (s *Server) putCredentials(w http.ResponseWriter, r *http.Request) error {
	var c artifact.Credentials
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil { // the error might quote them
		return fmt.Errorf(`%w: want {"user", "password"} or {"key", "hostKeys"}, each a string`, errBadRequest)
	}
	if err := s.Platform.PutCredentials(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) removeCredentials(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.RemoveCredentials(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// switchRef lets the subscription follow another branch or tag, or stay at a commit.
func (s *Server) switchRef(w http.ResponseWriter, r *http.Request) error {
	var to struct{ Ref *string }
	if err := decode(r, &to); err != nil {
		return err
	}
	if to.Ref == nil {
		return fmt.Errorf(`%w: want {"ref": "a branch, a tag or a commit"}; an empty one is the default branch`, errBadRequest)
	}
	if err := s.Platform.Switch(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), *to.Ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) scale(w http.ResponseWriter, r *http.Request) error {
	var size struct{ Min, Max *int }
	if err := decode(r, &size); err != nil {
		return err
	}
	if size.Min == nil || size.Max == nil {
		return fmt.Errorf(`%w: want {"min": N, "max": N}`, errBadRequest)
	}
	if err := s.Platform.Scale(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), *size.Min, *size.Max); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// connect lets the subscription use the service of another one.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.Connect(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), r.PathValue("provider")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) disconnect(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.Disconnect(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias"), r.PathValue("provider")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
