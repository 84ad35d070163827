package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Server serves a source over HTTP. Who may ask for which scope is decided
// before it is called.
type Server struct {
	Source topology.Source
	Store  string // the store's id, see [store.ID]

	// Coalesce is the shortest time between two frames of a stream: changes
	// within it travel together. Default 50 ms.
	Coalesce time.Duration
	// Sync is the time after which a silent stream says that nothing
	// happened. Default 15 s.
	Sync time.Duration
	// WriteTimeout is how long a subscriber may take to accept a frame before
	// it is cut off. Default 5 s.
	WriteTimeout time.Duration
	Log          *slog.Logger // default: none
}

// snapshot is the answer to a GET of the topology: for people and programs
// that want the whole.
type snapshot struct {
	Rev      store.Revision    `json:"rev"`
	Store    string            `json:"store"`
	Clusters []snapshotCluster `json:"clusters"`
}

type snapshotCluster struct {
	topology.Cluster
	Want    *topology.Want    `json:"want,omitempty"`
	Members []topology.Member `json:"members"`
}

// Snapshot answers with the scope as one JSON document.
func (s *Server) Snapshot(w http.ResponseWriter, r *http.Request, scope Scope) {
	v, err := s.Source.Next(r.Context(), 0)
	if err != nil {
		http.Error(w, "no topology yet", http.StatusServiceUnavailable)
		return
	}
	out := snapshot{Rev: v.Rev, Store: s.Store, Clusters: []snapshotCluster{}}
	for c := range v.Clusters() {
		if !scope.Has(c) {
			continue
		}
		sc := snapshotCluster{Cluster: c.Cluster, Want: c.Want, Members: []topology.Member{}}
		for _, m := range c.Members() {
			sc.Members = append(sc.Members, m.Public())
		}
		out.Clusters = append(out.Clusters, sc)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log().Debug("topology snapshot", "err", err)
	}
}

// Watch answers with a stream that ends with the request, when stop ends, or
// when the subscriber does not read.
func (s *Server) Watch(stop context.Context, w http.ResponseWriter, r *http.Request, scope Scope) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(stop, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	sub := &subscription{server: s, scope: scope, enc: json.NewEncoder(w), rc: http.NewResponseController(w)}
	err := sub.run(ctx)
	if stop.Err() != nil {
		err = sub.send(frame{T: frameBye, RetryMs: 500})
	}
	if err != nil && r.Context().Err() == nil {
		s.log().Debug("topology stream ended", "scope", scope.String(), "err", err)
	}
}

// subscription is one stream.
type subscription struct {
	server *Server
	scope  Scope
	enc    *json.Encoder
	rc     *http.ResponseController
	last   *topology.View // what the subscriber has
}

func (s *subscription) run(ctx context.Context) error {
	for {
		v, err := s.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			v, err = s.last, nil
		case err != nil:
			return err
		}
		if err := s.update(v); err != nil {
			return err
		}
		if !pause(ctx, cmp.Or(s.server.Coalesce, 50*time.Millisecond)) {
			return nil
		}
	}
}

// next waits for a newer view, at most until it is time to give a sign of life.
func (s *subscription) next(ctx context.Context) (*topology.View, error) {
	if s.last == nil {
		return s.server.Source.Next(ctx, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.server.Sync, 15*time.Second))
	defer cancel()
	for {
		v, err := s.server.Source.Next(ctx, s.last.Rev)
		if err != nil {
			return nil, err
		}
		changes, err := diff(s.last, v, s.scope)
		if err != nil || len(changes) > 0 {
			return v, err
		}
		s.last = v // nothing in this scope: no frame
	}
}

func (s *subscription) update(v *topology.View) error {
	changes, err := diff(s.last, v, s.scope)
	if err != nil {
		return err
	}
	f := frame{T: frameEv, Rev: v.Rev, Changes: changes}
	switch {
	case s.last == nil:
		f.T, f.Store = frameSnap, s.server.Store
	case len(changes) == 0:
		f.T = frameSync
	}
	s.last = v
	return s.send(f)
}

func (s *subscription) send(f frame) error {
	timeout := cmp.Or(s.server.WriteTimeout, 5*time.Second)
	if err := s.rc.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if err := s.enc.Encode(f); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
