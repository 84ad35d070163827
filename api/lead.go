package api

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/topology"
)

// errNoLeader says that nobody leads just now, or that the leader cannot be
// reached from here.
var errNoLeader = errors.New("no leader can be reached just now: try again in a moment, or another replica")

// forwardedHeader marks a request that a replica has passed on, so that none
// goes in circles while the leadership moves.
const forwardedHeader = "Stratos-Forwarded"

// led answers where the leader does: what agents and balancers say lives in
// its memory. Another replica passes the request on as it came, with its
// sender's own credentials.
func (s *Server) led(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leader, self := s.leading()
		switch {
		case self:
			h.ServeHTTP(w, r)
		case leader == "" || r.Header.Get(forwardedHeader) != "":
			s.fail(w, r, errNoLeader)
		default:
			s.forward(w, r, leader)
		}
	})
}

// leading says who leads, and whether that is this replica.
func (s *Server) leading() (leader string, self bool) {
	if s.Leader == nil {
		return "", true
	}
	return s.Leader()
}

// forward passes a request on to the leader, and its answer back.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, leader string) {
	to, err := url.Parse(leader)
	if err != nil {
		s.fail(w, r, errors.Join(errNoLeader, err))
		return
	}
	p := &httputil.ReverseProxy{
		Transport: s.Replicas,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Header.Set(forwardedHeader, "1")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.log().Debug("passing a request on to the leader", "leader", leader, "path", r.URL.Path, "err", err)
			s.fail(w, r, errNoLeader)
		},
		ErrorLog: log.New(logWriter{s}, "", 0),
	}
	p.ServeHTTP(w, r)
}

// logWriter takes what the reverse proxy logs.
type logWriter struct{ s *Server }

func (l logWriter) Write(p []byte) (int, error) {
	l.s.log().Debug("passing a request on to the leader", "err", string(p))
	return len(p), nil
}

// hungUp is what a replica tells the leader about an agent whose connection broke.
type hungUp struct {
	Cluster topology.ClusterID `json:"cluster"`
	Member  topology.MemberID  `json:"member"`
}

const (
	hungUpPath    = "/v1/replicas/hungup"
	hungUpTimeout = 3 * time.Second
)

func (s *Server) takeHungUp(w http.ResponseWriter, r *http.Request) error {
	var h hungUp
	if err := decode(r, &h); err != nil {
		return err
	}
	s.Controller.HungUp(h.Cluster, h.Member)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// agentHungUp passes on that an agent's connection broke. It is a hint: one
// that is lost is made up for by the agent's silence.
func (s *Server) agentHungUp(c topology.ClusterID, m topology.MemberID) {
	leader, self := s.leading()
	switch {
	case self:
		s.Controller.HungUp(c, m)
	case leader != "":
		ctx, cancel := context.WithTimeout(context.Background(), hungUpTimeout)
		defer cancel()
		to := client.Client{URLs: []string{leader}, Token: s.ReplicaToken, HTTP: &http.Client{Transport: s.Replicas}}
		if err := to.Post(ctx, hungUpPath, hungUp{Cluster: c, Member: m}, nil); err != nil {
			s.log().Debug("telling the leader that an agent hung up", "member", m, "err", err)
		}
	}
}

// leaderState is the answer to who leads.
type leaderState struct {
	Leader string `json:"leader"` // its address; empty: nobody, or there is only one control plane
	Self   bool   `json:"self"`   // it is the one that was asked
}

func (s *Server) showLeader(w http.ResponseWriter, _ *http.Request) error {
	var st leaderState
	st.Leader, st.Self = s.leading()
	s.reply(w, st)
	return nil
}
