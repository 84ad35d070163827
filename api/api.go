// Package api is the control plane over HTTP: what agents, balancers,
// operators and programs call.
//
// Nothing answers without credentials but /healthz. Operators and balancers
// carry a token ("Authorization: Bearer ..."); agents sign every request with
// the key that their join bound to their member, and see only their own cluster.
//
// Every replica answers everything. What lives in the leader's memory (what
// agents and balancers say) is passed on to it.
//
//	GET  /healthz                                             200 when the store answers
//	GET  /v1/topology?scope=S                                 a snapshot
//	GET  /v1/topology/watch?scope=S&after=REV&store=ID        a stream, see topology/stream
//	POST /v1/samples                                          autoscale.Report, one or a list
//	POST /v1/balancers                                        balancer.Status, of one in another process
//	POST /v1/balancers/certificate                            {"name": N, "csr": DER}: what it shows to instances
//	GET  /v1/leader                                           who leads
//	GET  /v1/holds                                            what waits for an operator
//	POST /v1/holds/{kind}/release                             replacements or orphans may go on, for ten minutes
//	GET  /v1/backup                                           a copy of the records, see client.Backup
//	GET  /v1/tokens, POST, DELETE /v1/tokens/{id}             credentials: {"kind": "admin" or "balancer", "name": N}
//	GET  /v1/clusters/{cluster}/decisions                     the scaler's last hundred, with reasons
//	GET  /v1/tenants/{tenant}/subscriptions/{alias}           the wish, its repository and its cluster
//	POST /v1/tenants/{tenant}/subscriptions/{alias}/synchronise   look at the repository now; with ?wait=30s, what came of it
//	POST /v1/tenants/{tenant}/subscriptions/{alias}/scale     {"min": 1, "max": 4}
//	GET  /v1/tenants/{tenant}/subscriptions/{alias}/repository    where to push to, if it is hosted here, and the password
//	     /git/{tenant}/{alias}.git                            git's smart HTTP: push, clone, fetch
//	GET  /v1/tenants/{tenant}/subscriptions/{alias}/logs?lines=N  what its members printed last
//
// Errors are JSON: {"error": "what is wrong, and the cure"}. A replica that
// cannot reach the store, or the leader, answers 503 within some seconds, with
// Retry-After: another one may do better.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/webhook"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// Platform is what the API asks of the platform: wishes, checked and recorded.
type Platform interface {
	Synchronise(ctx context.Context, t tenant.ID, alias string) error
	Switch(ctx context.Context, t tenant.ID, alias, ref string) error
	Webhook(ctx context.Context, t tenant.ID, alias string) (secret string, err error)
	RenewWebhook(ctx context.Context, t tenant.ID, alias string) error
	PushSecret(ctx context.Context, t tenant.ID, alias string) (secret string, err error)
	RenewPushSecret(ctx context.Context, t tenant.ID, alias string) error
	PutCredentials(ctx context.Context, t tenant.ID, alias string, c artifact.Credentials) error
	RemoveCredentials(ctx context.Context, t tenant.ID, alias string) error
	Scale(ctx context.Context, t tenant.ID, alias string, minimum, maximum int) error
	Connect(ctx context.Context, t tenant.ID, dependent, provider string) error
	Disconnect(ctx context.Context, t tenant.ID, dependent, provider string) error
	Backup(ctx context.Context, t tenant.ID, alias string) (job string, err error)
	Restore(ctx context.Context, t tenant.ID, alias, backup string) (job string, err error)
	Cartridges(ctx context.Context, t tenant.ID) ([]Cartridge, error)
	PutCartridge(ctx context.Context, t tenant.ID, d cartridge.Definition) (created bool, err error)
	WithdrawCartridge(ctx context.Context, t tenant.ID, name string) error
}

// Secrets tells agents what is for them alone.
type Secrets interface {
	// Runtime fills in what a runtime of a cluster is given beside its plan: the
	// name of its volumes, environment and secrets.
	Runtime(ctx context.Context, c topology.ClusterID, a *wire.Assignment) error
	// Bindings are all who may connect to the service of a cluster.
	Bindings(ctx context.Context, c topology.ClusterID) (wire.Bindings, error)
}

// Server answers. Its fields are set before Handler is called.
type Server struct {
	Store      store.Store
	Topology   topology.Source
	Controller *controller.Controller
	Blobs      artifact.Blobs
	Artifacts  *artifact.Coordinator // of hosted repositories
	Recorder   *autoscale.Recorder
	Decisions  func(topology.ClusterID) []autoscale.Decision
	Platform   Platform
	Logs       *Logs
	Backups    artifact.Blobs // of services. Default: there are none, and nobody asks for any
	Secrets    Secrets        // default: runtimes are given nothing beside their plans
	Fleet      *balancer.Fleet
	// Leader says where the leading replica answers, empty if nobody leads, and
	// whether this one is it. Default: this one leads, there is no other.
	Leader func() (url string, self bool)
	// Replicas carries requests to the leader. Default: http.DefaultTransport.
	Replicas http.RoundTripper
	// ReplicaToken is the secret that the replicas share. An empty one lets none in.
	ReplicaToken string
	// Certify signs a request for a certificate: kind is CertifyMember or
	// CertifyBalancer, name the member's id or the balancer's name, csr DER; the
	// answer is a chain, PEM. Default: certificates are not given out.
	Certify func(kind, name string, csr []byte) ([]byte, error)
	// Heartbeat is what agents are told. Default 15 s.
	Heartbeat time.Duration
	// Scratch is the folder for copies of the records on their way to an
	// operator: each is as large as the store's file. Default: os.TempDir.
	Scratch string
	Log     *slog.Logger // default: none
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
		s.whileGood(stop, r, func(stop context.Context) { topo.Watch(stop, w, r, scope) })
		if m, ok := memberOf(r); ok && stop.Err() == nil {
			s.agentHungUp(m.Cluster, m.ID)
		}
	}))
	mux.Handle("POST /v1/samples", s.led(s.balancer(s.samples)))
	mux.Handle("POST /v1/balancers", s.led(s.balancer(s.balancerStatus)))
	mux.Handle("POST /v1/balancers/certificate", s.balancer(s.balancerCertificate))
	mux.Handle("POST "+hungUpPath, s.replica(s.takeHungUp))
	mux.Handle("GET /v1/leader", s.admin(s.showLeader))
	mux.Handle("GET /v1/holds", s.led(s.admin(s.showHolds)))
	mux.Handle("POST /v1/holds/{kind}/release", s.admin(s.release))
	mux.Handle("GET /v1/backup", s.bearing(oneAtATime(s.backup, errBackingUp), tenant.TokenAdmin))
	mux.Handle("GET /v1/tokens", s.admin(s.listTokens))
	mux.Handle("POST /v1/tokens", s.admin(s.makeToken))
	mux.Handle("DELETE /v1/tokens/{id}", s.admin(s.endToken))
	mux.Handle("GET /v1/clusters/{cluster}/decisions", s.led(s.admin(s.decisions)))
	s.cartridgeRoutes(mux)
	const subscription = "/v1/tenants/{tenant}/subscriptions/{alias}"
	s.jobRoutes(mux, subscription)
	mux.Handle("GET "+subscription, s.admin(s.subscription))
	mux.Handle("POST "+subscription+"/synchronise", s.bearing(s.synchronise, tenant.TokenAdmin))
	mux.Handle("POST "+subscription+"/scale", s.admin(s.scale))
	mux.Handle("PUT "+subscription+"/ref", s.bearing(s.switchRef, tenant.TokenAdmin))
	mux.Handle("PUT "+subscription+"/credentials", s.admin(s.putCredentials))
	mux.Handle("DELETE "+subscription+"/credentials", s.admin(s.removeCredentials))
	s.webhookRoutes(mux, subscription)
	s.gitRoutes(mux, subscription)
	mux.Handle("PUT "+subscription+"/connections/{provider}", s.admin(s.connect))
	mux.Handle("DELETE "+subscription+"/connections/{provider}", s.admin(s.disconnect))
	mux.Handle("GET "+subscription+"/logs", s.led(s.bearing(s.logs(stop), tenant.TokenAdmin)))
	mux.Handle("/", s.admin(func(w http.ResponseWriter, r *http.Request) error { return errNoSuchPath }))
	return bounded(mux)
}

// bounded keeps every body small but those of backups, of webhooks and of git,
// which bound their own.
func bounded(h http.Handler) http.Handler {
	small := http.MaxBytesHandler(h, MaxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, wire.JobsPath) ||
			r.Method == http.MethodPost && (strings.HasPrefix(r.URL.Path, hooksPath) || strings.HasPrefix(r.URL.Path, gitPath)) {
			h.ServeHTTP(w, r)
			return
		}
		small.ServeHTTP(w, r)
	})
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	// Any record would do: what counts is that the store is asked.
	_, _, err := s.Store.Get(ctx, tenant.Key(tenant.Default), store.ReadOptions{Stale: true})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
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
	{balancer.ErrInvalid, http.StatusBadRequest},
	{errNoLeader, http.StatusServiceUnavailable},
	{errNoBackup, http.StatusNotImplemented},
	{errBackingUp, http.StatusConflict},
	{ErrInUse, http.StatusConflict},
	{ErrRepository, http.StatusUnprocessableEntity},
	{artifact.ErrNoRepository, http.StatusNotFound},
	{artifact.ErrPush, http.StatusBadRequest},
	{artifact.ErrNoGit, http.StatusNotImplemented},
	{artifact.ErrNotLeading, http.StatusServiceUnavailable},
	{artifact.ErrCredentials, http.StatusUnprocessableEntity},
	{webhook.ErrSignature, http.StatusForbidden},
	{webhook.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{webhook.ErrBody, http.StatusBadRequest},
	{errNoJob, http.StatusNotFound},
	{errStoreAway, http.StatusServiceUnavailable},
	{store.ErrFull, http.StatusInsufficientStorage},
}

// fail answers with an error. What is not the caller's business is only logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusInternalServerError
	cause := err // for the log
	err = storeAway(err)
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
		if errors.Is(err, wire.ErrClock) { // with the answer's Date the agent can sign anew
			w.Header().Set(wire.ClockHeader, wire.ClockSkewed)
		}
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
		s.log().Debug("request", "method", r.Method, "path", r.URL.Path, "err", cause)
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
