package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// handler answers a request, or returns an error before it wrote anything.
type handler func(http.ResponseWriter, *http.Request) error

// admin lets only administrators in.
func (s *Server) admin(h handler) http.Handler { return s.bearing(s.prompt(h), tenant.TokenAdmin) }

// balancer lets balancers in, and whoever may do everything.
func (s *Server) balancer(h handler) http.Handler {
	return s.bearing(s.prompt(h), tenant.TokenAdmin, tenant.TokenBalancer, tokenReplica)
}

// replica lets only the other replicas in.
func (s *Server) replica(h handler) http.Handler { return s.bearing(s.prompt(h), tokenReplica) }

// tokenReplica is the kind of the secret that replicas share; it has no record.
const tokenReplica tenant.TokenKind = "replica"

// bearing lets in who bears a token of one of the kinds. How long h may take is
// not bounded.
func (s *Server) bearing(h handler, kinds ...tenant.TokenKind) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, err := s.bearer(r)
		switch {
		case err != nil:
		case !slices.Contains(kinds, kind):
			err = errForbidden
		default:
			err = h(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// agent lets only agents in, each as its member.
func (s *Server) agent(h handler) http.Handler { return s.signing(s.prompt(h)) }

// signing is agent for an h that may take long.
func (s *Server) signing(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := s.asMember(r, wire.ParseSigned)
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// streaming is signing for an h that reads the body itself, of any length: only
// at its end it is known to be the agent's.
func (s *Server) streaming(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := s.asMember(r, wire.ParseStream)
		if err == nil {
			err = h(w, r)
		}
		if errors.Is(err, wire.ErrSignature) {
			err = fmt.Errorf("%w: %w", errUnauthorized, err)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// scoped lets who bears a token see every scope, and an agent its own cluster.
func (s *Server) scoped(h func(http.ResponseWriter, *http.Request, stream.Scope)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope, err := stream.ParseScope(r.URL.Query().Get("scope"))
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			_, berr := s.bearer(r)
			err = cmp.Or(berr, err)
		} else {
			var merr error
			r, merr = s.asMember(r, wire.ParseSigned)
			if m, ok := memberOf(r); merr == nil && err == nil && (!ok || scope != stream.ClusterScope(m.Cluster)) {
				merr = errForbidden
			}
			err = cmp.Or(merr, err)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		h(w, r, scope)
	})
}

// bearer says what the bearer of the request's token is.
func (s *Server) bearer(r *http.Request) (tenant.TokenKind, error) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", errUnauthorized
	}
	return s.kindOf(r.Context(), secret)
}

// kindOf says what a token is for; errUnauthorized: it is none.
func (s *Server) kindOf(ctx context.Context, secret string) (tenant.TokenKind, error) {
	if secret == "" {
		return "", errUnauthorized
	}
	if s.ReplicaToken != "" && tenant.NewToken(s.ReplicaToken, tokenReplica, "", time.Time{}).Matches(secret) {
		return tokenReplica, nil
	}
	t, err := s.readToken(ctx, tenant.TokenKey(secret))
	if errors.Is(err, store.ErrNotFound) || err == nil && !t.Value.Matches(secret) {
		return "", errUnauthorized
	}
	return t.Value.Kind, err
}

// readToken reads a token as this replica knows it, which needs no majority of
// the store; one that it does not know may be new.
func (s *Server) readToken(ctx context.Context, key string) (store.Record[tenant.Token], error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	kv, _, err := s.Store.Get(ctx, key, store.ReadOptions{Stale: true})
	if errors.Is(err, store.ErrNotFound) {
		return store.Read[tenant.Token](ctx, s.Store, key)
	}
	if err != nil {
		return store.Record[tenant.Token]{}, err
	}
	return store.Decode[tenant.Token](kv)
}

type memberKey struct{}

// memberOf returns the member whose agent signed the request.
func memberOf(r *http.Request) (topology.Member, bool) {
	m, ok := r.Context().Value(memberKey{}).(topology.Member)
	return m, ok
}

// asMember checks an agent's signature against its member's key, as this
// replica's topology has it; one that has just joined is read from the store.
func (s *Server) asMember(r *http.Request, parse func(*http.Request) (wire.Signed, bool, error)) (*http.Request, error) {
	signed, ok, err := parse(r)
	if !ok {
		return r, errUnauthorized
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", errUnauthorized, err)
	}
	cluster, id := topology.ClusterID(signed.Cluster), topology.MemberID(signed.Member)
	m, err := s.knownMember(r.Context(), cluster, id)
	if err == nil && len(m.PublicKey) == 0 {
		m, err = s.recordedMember(r.Context(), cluster, id)
	}
	if err != nil {
		return r, err
	}
	if err := signed.Verify(m.PublicKey, time.Now()); err != nil {
		return r, fmt.Errorf("%w: %w", errUnauthorized, err) // fail tells of clocks that differ
	}
	return r.WithContext(context.WithValue(r.Context(), memberKey{}, m)), nil
}

// knownMember is a member as the topology has it, or the zero member.
func (s *Server) knownMember(ctx context.Context, cluster topology.ClusterID, id topology.MemberID) (topology.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience) // there is none before the store was read
	defer cancel()
	v, err := s.Topology.Next(ctx, 0)
	if err != nil {
		return topology.Member{}, err
	}
	c := v.Cluster(cluster)
	if c == nil {
		return topology.Member{}, nil
	}
	m, _ := c.Member(id)
	return m.Member, nil
}

func (s *Server) recordedMember(ctx context.Context, cluster topology.ClusterID, id topology.MemberID) (topology.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	rec, err := store.Read[topology.Member](ctx, s.Store, topology.MemberKey(cluster, id))
	if errors.Is(err, store.ErrNotFound) {
		return topology.Member{}, errUnauthorized
	}
	return rec.Value, err
}

// memberNow is the member whose agent signed the request, as it is recorded:
// for answers that the topology of this replica may be too old for.
func (s *Server) memberNow(r *http.Request) (topology.Member, error) {
	m, _ := memberOf(r)
	return s.recordedMember(r.Context(), m.Cluster, m.ID)
}
