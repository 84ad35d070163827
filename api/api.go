// Package api is the control plane over HTTP: what agents, balancers,
// operators and programs call.
//
// Nothing answers without credentials but /healthz. Operators and balancers
// carry a token ("Authorization: Bearer ..."); agents sign every request with
// the key that their join bound to their member, and see only their own cluster.
//
//	GET  /healthz                                             200 when the store answers
//	GET  /v1/topology?scope=S                                 a snapshot
//	GET  /v1/topology/watch?scope=S                           a stream, see topology/stream
//	POST /v1/samples                                          autoscale.Report, one or a list
//	GET  /v1/clusters/{cluster}/decisions                     the scaler's last hundred, with reasons
//	GET  /v1/tenants/{tenant}/subscriptions/{alias}           the wish, its repository and its cluster
//	POST /v1/tenants/{tenant}/subscriptions/{alias}/synchronise   look at the repository now
//	POST /v1/tenants/{tenant}/subscriptions/{alias}/scale     {"min": 1, "max": 4}
//	GET  /v1/tenants/{tenant}/subscriptions/{alias}/logs?lines=N  what its members printed last
//
// Errors are JSON: {"error": "what is wrong, and the cure"}.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// Platform is what the API asks of the platform: wishes, checked and recorded.
type Platform interface {
	Synchronise(ctx context.Context, t tenant.ID, alias string) error
	Scale(ctx context.Context, t tenant.ID, alias string, minimum, maximum int) error
}

// Server answers. Its fields are set before Handler is called.
type Server struct {
	Store      store.Store
	Topology   topology.Source
	Controller *controller.Controller
	Blobs      artifact.Blobs
	Recorder   *autoscale.Recorder
	Decisions  func(topology.ClusterID) []autoscale.Decision
	Platform   Platform
	Logs       *Logs
	// Token is the administrator's. An empty one lets nobody in.
	Token string
	// Heartbeat is what agents are told. Default 15 s.
	Heartbeat time.Duration
	Log       *slog.Logger // default: none
}

// MaxBody is the largest request body, in bytes.
const MaxBody = 1 << 20

// Handler returns the API. Streams end when stop does.
func (s *Server) Handler(stop context.Context, id store.ID) http.Handler {
	topo := &stream.Server{Source: s.Topology, Store: id.String(), Log: s.Log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	s.agentRoutes(mux)
	mux.Handle("GET "+stream.SnapshotPath, s.scoped(topo.Snapshot))
	mux.Handle("GET "+stream.WatchPath, s.scoped(func(w http.ResponseWriter, r *http.Request, scope stream.Scope) {
		topo.Watch(stop, w, r, scope)
		if m, ok := memberOf(r); ok && stop.Err() == nil {
			s.Controller.HungUp(m.Cluster, m.ID)
		}
	}))
	mux.Handle("POST /v1/samples", s.admin(s.samples))
	mux.Handle("GET /v1/clusters/{cluster}/decisions", s.admin(s.decisions))
	const subscription = "/v1/tenants/{tenant}/subscriptions/{alias}"
	mux.Handle("GET "+subscription, s.admin(s.subscription))
	mux.Handle("POST "+subscription+"/synchronise", s.admin(s.synchronise))
	mux.Handle("POST "+subscription+"/scale", s.admin(s.scale))
	mux.Handle("GET "+subscription+"/logs", s.admin(s.logs))
	mux.Handle("/", s.admin(func(w http.ResponseWriter, r *http.Request) error { return errNoSuchPath }))
	return http.MaxBytesHandler(mux, MaxBody)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Store.ID(ctx); err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, map[string]string{"status": "ok"})
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log().Debug("reply", "err", err)
	}
}

// Errors of requests.
var (
	errNoSuchPath   = errors.New("no such path")
	errUnauthorized = errors.New(`credentials are needed: send "Authorization: Bearer TOKEN" (the administrator's token is in the data folder, in admin.token)`)
	errForbidden    = errors.New("these credentials do not allow this")
	errBadRequest   = errors.New("bad request")
)

// statuses maps errors to what they are in HTTP; the first that fits.
var statuses = []struct {
	err  error
	code int
}{
	{errNoSuchPath, http.StatusNotFound},
	{errUnauthorized, http.StatusUnauthorized},
	{errForbidden, http.StatusForbidden},
	{errBadRequest, http.StatusBadRequest},
	{stream.ErrScope, http.StatusBadRequest},
	{tenant.ErrInvalid, http.StatusBadRequest},
	{controller.ErrRefused, http.StatusForbidden},
	{controller.ErrGone, http.StatusGone},
	{controller.ErrNotYet, http.StatusServiceUnavailable},
	{store.ErrNotFound, http.StatusNotFound},
}

// fail answers with an error. What is not the caller's business is only logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusInternalServerError
	text := "internal error; the control plane's log says more"
	for _, st := range statuses {
		if errors.Is(err, st.err) {
			code, text = st.code, err.Error()
			break
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		code, text = http.StatusRequestEntityTooLarge, "the body is too large"
	}
	switch code {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="stratos"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusInternalServerError:
		if r.Context().Err() == nil {
			s.log().Error("request", "method", r.Method, "path", r.URL.Path, "err", err)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(map[string]string{"error": text}); err != nil {
		s.log().Debug("reply", "err", err)
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
