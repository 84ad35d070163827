package api

import (
	"fmt"
	"net/http"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud/controller"
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
