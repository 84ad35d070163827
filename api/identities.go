package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// Kinds of certificates; see [Server.Certify].
const (
	CertifyMember   = "member"
	CertifyBalancer = "balancer"
)

// certificate signs a request for a certificate, or answers with none if the
// platform has no authority.
func (s *Server) certificate(kind, name string, csr []byte) ([]byte, error) {
	if s.Certify == nil || len(csr) == 0 {
		return nil, nil
	}
	cert, err := s.Certify(kind, name, csr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return cert, nil
}

// agentCertificate renews an agent's certificate.
func (s *Server) agentCertificate(w http.ResponseWriter, r *http.Request) error {
	var req wire.CertificateRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	m, err := s.memberNow(r)
	if err != nil {
		return err
	}
	if m.State == topology.Terminating || m.State == topology.Terminated {
		return controller.ErrGone
	}
	cert, err := s.certificate(CertifyMember, string(m.ID), req.CSR)
	if err != nil {
		return err
	}
	s.reply(w, wire.CertificateReply{Certificate: cert})
	return nil
}

// balancerCertificate gives a balancer what it shows to instances.
func (s *Server) balancerCertificate(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Name string `json:"name"`
		CSR  []byte `json:"csr"`
	}
	if err := decode(r, &req); err != nil {
		return err
	}
	cert, err := s.certificate(CertifyBalancer, req.Name, req.CSR)
	if err != nil {
		return err
	}
	s.reply(w, wire.CertificateReply{Certificate: cert})
	return nil
}

// balancerStatus takes what a balancer says of itself.
func (s *Server) balancerStatus(w http.ResponseWriter, r *http.Request) error {
	var st balancer.Status
	if err := decode(r, &st); err != nil {
		return err
	}
	if err := s.Fleet.Heard(r.Context(), st); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// shownToken is a token without what it is checked with.
type shownToken struct {
	ID      string           `json:"id"`
	Kind    tenant.TokenKind `json:"kind"`
	Name    string           `json:"name"`
	Created time.Time        `json:"created"`
}

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) error {
	recs, _, err := store.ReadAll[tenant.Token](r.Context(), s.Store, tenant.TokenPrefix)
	if err != nil {
		return err
	}
	out := make([]shownToken, len(recs))
	for i, t := range recs {
		out[i] = shownToken{ID: strings.TrimPrefix(t.Key, tenant.TokenPrefix), Kind: t.Value.Kind, Name: t.Value.Name, Created: t.Value.Created}
	}
	s.reply(w, out)
	return nil
}

// makeToken answers with the one copy of a new token's secret.
func (s *Server) makeToken(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Kind tenant.TokenKind `json:"kind"`
		Name string           `json:"name"`
	}
	if err := decode(r, &req); err != nil {
		return err
	}
	if kinds := []tenant.TokenKind{tenant.TokenAdmin, tenant.TokenBalancer}; !slices.Contains(kinds, req.Kind) {
		return fmt.Errorf("%w: kind is %q, want admin or balancer", errBadRequest, req.Kind)
	}
	if err := tenant.CheckLabel("name", req.Name); err != nil {
		return err
	}
	secret := tenant.NewSecret()
	rec := store.NewRecord(tenant.TokenKey(secret), tenant.NewToken(secret, req.Kind, req.Name, time.Now()))
	op, err := rec.Put()
	if err != nil {
		return err
	}
	if _, err := s.Store.Commit(r.Context(), store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}}); err != nil {
		return err
	}
	s.reply(w, map[string]string{"token": secret, "id": strings.TrimPrefix(rec.Key, tenant.TokenPrefix)})
	return nil
}

// endToken takes a token back; its bearer's next request is refused.
func (s *Server) endToken(w http.ResponseWriter, r *http.Request) error {
	key := tenant.TokenPrefix + r.PathValue("id")
	rec, err := store.Read[tenant.Token](r.Context(), s.Store, key)
	if err != nil {
		return err
	}
	_, err = s.Store.Commit(r.Context(), store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{{Key: key, Delete: true}}})
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
