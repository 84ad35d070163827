package stream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Server serves a source over HTTP. Who may ask for which scope is decided
// before it is called.
//
// It costs what changes: the source is followed once while there are
// subscribers, each change is encoded once for each scope that somebody
// follows, and only those subscribers wake. Snapshots are encoded once for all
// who ask at the same time.
type Server struct {
	Source topology.Source
	Store  string // the store's id, see [store.ID]

	// Coalesce is the shortest time between two frames of a stream: changes
	// within it travel together. Default 50 ms.
	Coalesce time.Duration
	// Sync is the time, varied by a fifth, after which a stream says where it
	// is, and the digest of the scope there. Default 15 s.
	Sync time.Duration
	// WriteTimeout is how long a subscriber may take to accept a frame before
	// it is cut off. Default 5 s.
	WriteTimeout time.Duration
	Log          *slog.Logger // default: none

	snapshots snapshots

	mu    sync.Mutex
	relay *relay // nil: no subscriber
}

// futureWait is how long a reader who has seen more than this replica waits
// for it to catch up.
const futureWait = 2 * time.Second

// Watch answers with a stream that ends with the request, when stop ends, or
// when the subscriber does not read. It goes on from the query parameter after
// if store, or its absence, says that the revision is of this store.
func (s *Server) Watch(stop context.Context, w http.ResponseWriter, r *http.Request, scope Scope) {
	after, err := s.place(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(stop, cancel)()
	out := s.newFrameWriter(w, r)
	err = s.subscribe(ctx, out, scope, after)
	if stop.Err() != nil {
		err = out.end(frame{T: frameBye, RetryMs: 500})
	}
	if err != nil && r.Context().Err() == nil {
		s.log().Debug("topology stream ended", "scope", scope.String(), "err", err)
	}
}

// place reads what a reader says it has: a revision, 0 for nothing that counts here.
func (s *Server) place(r *http.Request) (store.Revision, error) {
	of, after := r.URL.Query().Get("store"), r.URL.Query().Get("after")
	if id := r.Header.Get("Last-Event-ID"); after == "" && id != "" { // a browser, on its own
		if i := strings.LastIndexByte(id, '.'); i >= 0 {
			of, after = id[:i], id[i+1:]
		}
	}
	if after == "" || of != "" && of != s.Store {
		return 0, nil
	}
	rev, err := strconv.ParseInt(after, 10, 64)
	if err != nil || rev < 0 {
		return 0, errors.New("after: want a revision")
	}
	return store.Revision(rev), nil
}

// subscribe sends what comes after a revision, from a snapshot on if it is 0.
func (s *Server) subscribe(ctx context.Context, out *frameWriter, scope Scope, after store.Revision) error {
	relay, err := s.join(ctx)
	if err != nil {
		return quiet(ctx, err)
	}
	defer s.leave(relay)
	feed := relay.enter(scope)
	defer relay.leave(feed)
	sub := subscriber{relay: relay, feed: feed, out: out, sync: cmp.Or(s.Sync, 15*time.Second)}
	if after == 0 {
		snap, err := s.snapshots.get(ctx, s, snapshotKey{scope: scope, media: typeLines}, relay.floor(feed))
		if err != nil {
			return quiet(ctx, err)
		}
		if err := out.snapshot(snap); err != nil {
			return quiet(ctx, err)
		}
		after = snap.rev
	} else if known, err := s.reaches(ctx, after); err != nil || !known {
		return errors.Join(quiet(ctx, err), out.end(frame{T: frameCompacted, Rev: after}))
	}
	var ok bool
	if sub.next, ok = relay.place(feed, after); !ok {
		return out.end(frame{T: frameCompacted, Rev: after})
	}
	return quiet(ctx, sub.run(ctx))
}

// reaches reports whether the source has a revision, or comes to it soon.
func (s *Server) reaches(ctx context.Context, rev store.Revision) (bool, error) {
	soon, cancel := context.WithTimeout(ctx, futureWait)
	defer cancel()
	_, err := s.Source.Next(soon, rev-1)
	if err != nil && soon.Err() != nil {
		return false, ctx.Err()
	}
	return err == nil, err
}

// join returns the relay, which it starts for the first subscriber.
func (s *Server) join(ctx context.Context) (*relay, error) {
	v, err := s.Source.Next(ctx, 0)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil && s.relay.failed() {
		s.relay = nil // its subscribers are on their way out
	}
	if s.relay == nil {
		// Not the request's context: the relay outlives its first subscriber.
		// The last one to leave ends it and waits for that.
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		s.relay = newRelay(s.Source, cmp.Or(s.Coalesce, 50*time.Millisecond), v)
		s.relay.stop = stop
		go s.relay.run(running)
	}
	s.relay.users++
	return s.relay, nil
}

func (s *Server) leave(r *relay) {
	s.mu.Lock()
	r.users--
	last := r.users == 0
	if last && s.relay == r {
		s.relay = nil
	}
	s.mu.Unlock()
	if last {
		r.stop()
		<-r.done
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// quiet passes over the error of a stream that was ended on purpose.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
