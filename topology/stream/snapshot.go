package stream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// document is a snapshot as one JSON document: for people, and for programs
// that do not follow.
type document struct {
	Rev      store.Revision    `json:"rev"`
	Store    string            `json:"store"`
	Digest   string            `json:"digest"`
	Clusters []documentCluster `json:"clusters"`
}

type documentCluster struct {
	topology.Cluster
	Want    *topology.Want    `json:"want,omitempty"`
	Members []topology.Member `json:"members"`
}

// Snapshot answers with the scope as one JSON document, or as the lines of
// snap frames if that is what the request accepts, compressed if it accepts
// that. Its ETag is made of store, revision and digest; who has the records of
// this store with this digest, at whatever revision, gets 304.
func (s *Server) Snapshot(w http.ResponseWriter, r *http.Request, scope Scope) {
	v, err := s.Source.Next(r.Context(), 0)
	if err != nil {
		http.Error(w, "no topology yet", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	now := etag{store: s.Store, rev: v.Rev, digest: scope.digest(v).String()}
	if now.among(r.Header.Values("If-None-Match")) {
		h.Set("ETag", now.String())
		w.WriteHeader(http.StatusNotModified)
		return
	}
	key := snapshotKey{scope: scope, media: typeJSON, gzip: accepts(r.Header.Values("Accept-Encoding"), "gzip")}
	if accepts(r.Header.Values("Accept"), typeLines) {
		key.media = typeLines
	}
	snap, err := s.snapshots.get(r.Context(), s, key, 0)
	if err != nil {
		http.Error(w, "the topology cannot be read", http.StatusInternalServerError)
		s.log().Error("topology snapshot", "scope", scope.String(), "err", err)
		return
	}
	h.Set("Content-Type", key.media)
	h.Set("ETag", etag{store: s.Store, rev: snap.rev, digest: snap.digest.String()}.String())
	h.Set("Content-Length", strconv.Itoa(len(snap.body)))
	if key.gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if err := s.write(w, snap.body); err != nil {
		s.log().Debug("topology snapshot", "scope", scope.String(), "err", err)
	}
}

// write sends a body to a reader that must take each part of it in time.
func (s *Server) write(w http.ResponseWriter, body []byte) error {
	out := frameWriter{w: w, rc: http.NewResponseController(w), timeout: s.writeTimeout()}
	for len(body) > 0 {
		n := min(len(body), chunkBytes)
		if err := out.message(message{line: body[:n]}); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// accepts reports whether one of the lists of a header has a name, and does
// not rule it out.
func accepts(lists []string, name string) bool {
	for item := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		what, params, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(what), name) {
			q, isQ := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !isQ || err == nil && weight > 0
		}
	}
	return false
}

// etag says what somebody has: the records of a store with a digest, as they
// were at a revision. It is weak: documents, lines and compressed ones share it.
type etag struct {
	store  string
	rev    store.Revision
	digest string
}

func (e etag) String() string { return fmt.Sprintf(`W/"%s.%d.%s"`, e.store, e.rev, e.digest) }

// parseETag reads what String writes.
func parseETag(s string) (e etag, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimSpace(s), `W/"`)
	s, quoted := strings.CutSuffix(s, `"`)
	i := strings.LastIndexByte(s, '.')
	if !ok || !quoted || i < 0 {
		return etag{}, false
	}
	s, e.digest = s[:i], s[i+1:]
	if i = strings.LastIndexByte(s, '.'); i < 0 {
		return etag{}, false
	}
	rev, err := strconv.ParseInt(s[i+1:], 10, 64)
	e.store, e.rev = s[:i], store.Revision(rev)
	return e, err == nil && rev >= 0
}

// among reports whether one of the tags of If-None-Match has the same content:
// the digest decides, the revision may be another.
func (e etag) among(lists []string) bool {
	for tag := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if had, ok := parseETag(tag); ok && had.store == e.store && had.digest == e.digest {
			return true
		}
	}
	return false
}

// snapshot is a scope at a revision, encoded.
type snapshot struct {
	rev    store.Revision
	digest topology.Digest
	body   []byte
}

type snapshotKey struct {
	scope Scope
	media string
	gzip  bool
}

// snapshots encodes snapshots once for all who ask at the same time, and keeps
// those of the newest revision.
type snapshots struct {
	mu  sync.Mutex
	all map[snapshotKey]*encoding
}

// encoding is a snapshot that somebody makes or has made; the rest wait for done.
type encoding struct {
	done chan struct{}
	snapshot
	err error
}

// get returns a snapshot of a revision that is not below least.
func (s *snapshots) get(ctx context.Context, server *Server, key snapshotKey, least store.Revision) (*snapshot, error) {
	for {
		v, err := server.Source.Next(ctx, max(least-1, 0))
		if err != nil {
			return nil, err
		}
		if key.scope.kind == kindCluster { // small, and hardly two the same
			return encode(server.Store, key, v)
		}
		e, mine := s.claim(key, v)
		if mine {
			snap, err := encode(server.Store, key, v)
			if e.err = err; err == nil {
				e.snapshot = *snap
			}
			close(e.done)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e.err != nil || e.rev >= least {
			return &e.snapshot, e.err
		}
	}
}

// claim returns the encoding to wait for; mine, if the caller has to make it.
func (s *snapshots) claim(key snapshotKey, v *topology.View) (e *encoding, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, old := range s.all {
		if old.isDone() && (old.err != nil || old.rev < v.Rev) {
			delete(s.all, k)
		}
	}
	if e = s.all[key]; e != nil {
		return e, false
	}
	if s.all == nil {
		s.all = map[snapshotKey]*encoding{}
	}
	e = &encoding{done: make(chan struct{})}
	s.all[key] = e
	return e, true
}

func (e *encoding) isDone() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func encode(storeID string, key snapshotKey, v *topology.View) (*snapshot, error) {
	s := &snapshot{rev: v.Rev, digest: key.scope.digest(v)}
	var err error
	if key.media == typeLines {
		s.body, err = snapLines(v, key.scope, storeID)
	} else {
		s.body, err = encodeDocument(v, key.scope, storeID, s.digest)
	}
	if err == nil && key.gzip {
		s.body, err = compress(s.body)
	}
	return s, err
}

func encodeDocument(v *topology.View, scope Scope, storeID string, d topology.Digest) ([]byte, error) {
	out := document{Rev: v.Rev, Store: storeID, Digest: d.String(), Clusters: []documentCluster{}}
	for c := range scope.clusters(v) {
		dc := documentCluster{Cluster: c.Cluster, Want: c.Want, Members: []topology.Member{}}
		for _, m := range c.Members() {
			dc.Members = append(dc.Members, m.Public())
		}
		out.Clusters = append(out.Clusters, dc)
	}
	b, err := json.Marshal(out)
	return append(b, '\n'), err
}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, werr := z.Write(b)
	err = errors.Join(werr, z.Close()) // Close writes the rest
	return out.Bytes(), err
}

func (s *Server) writeTimeout() time.Duration {
	if s.WriteTimeout > 0 {
		return s.WriteTimeout
	}
	return 5 * time.Second
}
