package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

const (
	testCluster = "acme.shop"
	testMember  = "m1"
	testToken   = "one-time-secret"
	patience    = 20 * time.Second // how long a test waits for what must come
)

// controlPlane is the agent's peer: it checks signatures, binds the key at the
// join, and streams the member's record.
type controlPlane struct {
	t    *testing.T
	srv  *httptest.Server
	stop context.CancelFunc // ends the streams
	live context.Context

	mu        sync.Mutex
	away      bool
	gone      bool
	joins     int
	damaged   int    // archives to spoil on their way
	poison    string // batches with this text are refused
	refusals  int
	skew      time.Duration // of its clock
	skewed    int           // requests that were refused for their time
	platform  *ca.Authority // signs certificates; nil: none
	mute      bool          // the join gives no certificate
	before    []string      // URLs that are tried first
	certified int           // certificates that were signed
	key       ed25519.PublicKey
	assigned  wire.Assignment
	archives  map[string][]byte
	statuses  []wire.Status
	logs      []wire.LogLine
	logNext   uint64
	bad       []string // what should not have happened

	latest topology.Latest
	rev    store.Revision
	member topology.Member

	cluster  topology.Cluster
	bindings wire.Bindings
	noList   bool // there is no list of bindings
	job      wire.Job
	stored   map[string]string // by the jobs' names: what a backup printed, or a restore is to read
	results  map[string]wire.JobResult
	broken   int // downloads that break off, uploads that are refused half way
	started  int // uploads that began
	view     *topology.View
}

func newControlPlane(t *testing.T) *controlPlane {
	c := &controlPlane{t: t, archives: map[string][]byte{}, view: &topology.View{}, stored: map[string]string{}, results: map[string]wire.JobResult{}}
	c.live, c.stop = context.WithCancel(context.Background())
	c.member = topology.Member{V: topology.Schema, ID: testMember, Cluster: testCluster, State: topology.Initialized}
	c.update(func(*topology.Member) {})
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.JoinPath, c.join)
	mux.HandleFunc("GET "+wire.AssignmentPath, c.signed(c.assignment))
	mux.HandleFunc("POST "+wire.StatusPath, c.signed(c.status))
	mux.HandleFunc("POST "+wire.CertificatePath, c.signed(c.certificate))
	c.serviceRoutes(mux)
	mux.HandleFunc("POST "+wire.LogsPath, c.signed(c.takeLogs))
	mux.HandleFunc("GET "+wire.ArchivePath+"{digest}", c.signed(c.archive))
	server := &stream.Server{Source: &c.latest, Store: "test", Coalesce: time.Millisecond}
	mux.HandleFunc("GET "+stream.WatchPath, c.signed(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		scope, err := stream.ParseScope(r.URL.Query().Get("scope"))
		if err != nil || scope != stream.ClusterScope(testCluster) {
			c.wrong("scope %q: %v", r.URL.RawQuery, err)
		}
		c.mu.Lock()
		live := c.live
		c.mu.Unlock()
		server.Watch(live, w, r, scope)
	}))
	c.srv = httptest.NewServer(c.guard(mux))
	t.Cleanup(func() {
		c.mu.Lock()
		stop := c.stop
		c.mu.Unlock()
		stop()
		c.srv.CloseClientConnections()
		c.srv.Close()
		require.Empty(t, c.bad)
	})
	return c
}

func (c *controlPlane) userData() wire.UserData {
	u := wire.UserData{V: wire.Version, Control: append(c.before, c.srv.URL), Cluster: testCluster, Member: testMember, Token: testToken}
	if c.platform != nil {
		u.CA = c.platform.CertPEM()
	}
	return u
}

// guard plays the control plane that is away.
func (c *controlPlane) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		away := c.away
		c.mu.Unlock()
		if away {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		next.ServeHTTP(w, r)
	})
}

func (c *controlPlane) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
	if away {
		c.stop()
		c.live, c.stop = context.WithCancel(context.Background())
	}
}

func (c *controlPlane) wrong(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

func (c *controlPlane) join(w http.ResponseWriter, r *http.Request) {
	var in wire.JoinRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.wrong("join: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case in.Token != testToken, in.V != wire.Version, in.Cluster != testCluster, in.Member != testMember:
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	case c.key != nil && !c.key.Equal(ed25519.PublicKey(in.PublicKey)):
		http.Error(w, "joined with another key", http.StatusForbidden)
		return
	}
	c.key, c.joins = in.PublicKey, c.joins+1
	a := c.assigned
	if c.platform != nil && !c.mute {
		a.Certificate = c.certify(in.CSR)
	}
	c.reply(w, a)
}

// certify signs a member's request; the lock is held.
func (c *controlPlane) certify(csr []byte) []byte {
	chain, err := c.platform.Sign(csr, ca.Identity{Kind: ca.Member, Name: testMember}, time.Now())
	if err != nil {
		c.bad = append(c.bad, err.Error())
	}
	c.certified++
	return chain
}

func (c *controlPlane) certificate(w http.ResponseWriter, _ *http.Request, body []byte) {
	var in wire.CertificateRequest
	if err := json.Unmarshal(body, &in); err != nil {
		c.wrong("certificate: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply(w, wire.CertificateReply{Certificate: c.certify(in.CSR)})
}

func (c *controlPlane) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		c.bad = append(c.bad, err.Error())
	}
}

func (c *controlPlane) signed(next func(http.ResponseWriter, *http.Request, []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok, err := wire.ParseSigned(r)
		c.mu.Lock()
		key, gone, now := c.key, c.gone, time.Now().Add(c.skew)
		c.mu.Unlock()
		if ok && err == nil {
			err = s.Verify(key, now)
		}
		if errors.Is(err, wire.ErrClock) {
			c.mu.Lock()
			c.skewed++
			c.mu.Unlock()
			w.Header().Set(wire.ClockHeader, wire.ClockSkewed)
			w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			http.Error(w, "the clocks differ", http.StatusUnauthorized)
			return
		}
		if !ok || err != nil || s.Cluster != testCluster || s.Member != testMember {
			c.wrong("%s is not signed: %v", r.URL, err)
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		if gone {
			http.Error(w, "terminated", http.StatusGone)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			c.wrong("%s: %v", r.URL, err)
		}
		next(w, r, body)
	}
}

func (c *controlPlane) assignment(w http.ResponseWriter, _ *http.Request, _ []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply(w, c.assigned)
}

func (c *controlPlane) archive(w http.ResponseWriter, r *http.Request, _ []byte) {
	c.mu.Lock()
	b, ok := c.archives[r.PathValue("digest")]
	if c.damaged > 0 {
		c.damaged--
		b = bytes.Replace(b, []byte("one"), []byte("eno"), 1)
	}
	c.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b) // the agent may leave
}

func (c *controlPlane) status(w http.ResponseWriter, _ *http.Request, body []byte) {
	var s wire.Status
	if err := json.Unmarshal(body, &s); err != nil {
		c.wrong("status: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.statuses); n > 0 && s.Seq <= c.statuses[n-1].Seq {
		c.bad = append(c.bad, "seq does not grow")
	}
	c.statuses = append(c.statuses, s)
	w.WriteHeader(http.StatusNoContent)
}

func (c *controlPlane) takeLogs(w http.ResponseWriter, _ *http.Request, body []byte) {
	var l wire.Logs
	if err := json.Unmarshal(body, &l); err != nil {
		c.wrong("logs: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poison != "" && bytes.Contains(body, []byte(c.poison)) {
		c.refusals++
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	for i, line := range l.Lines {
		if n := l.From + uint64(i); n >= c.logNext {
			c.logs, c.logNext = append(c.logs, line), n+1
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// update changes the member's record.
func (c *controlPlane) update(change func(*topology.Member)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.member)
	value, err := json.Marshal(c.member)
	require.NoError(c.t, err)
	c.put(topology.MemberKey(testCluster, testMember), value)
}

// put writes a record of the topology; the lock is held.
func (c *controlPlane) put(key string, value []byte) {
	c.rev++
	kv := store.KV{Key: key, Value: value, Create: 1, Mod: c.rev}
	view, err := c.view.With(c.rev, []store.Event{{KV: kv}})
	require.NoError(c.t, err)
	c.view = view
	c.latest.Set(c.view)
}

// assign makes a release out of files and a plan, and assigns it.
func (c *controlPlane) assign(revision string, files map[string]string, plan cartridge.Plan) wire.ReleaseRef {
	return c.assignArchive(revision, c.pack(files), plan)
}

// pack makes an archive.
func (c *controlPlane) pack(files map[string]string) []byte {
	dir := c.t.TempDir()
	for name, text := range files {
		require.NoError(c.t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(c.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	var tar bytes.Buffer
	require.NoError(c.t, archive.Pack(dir, &tar))
	return tar.Bytes()
}

func (c *controlPlane) assignArchive(revision string, tar []byte, plan cartridge.Plan) wire.ReleaseRef {
	return c.assignWith(revision, tar, plan, func(*wire.Assignment) {})
}

func (c *controlPlane) assignWith(revision string, tar []byte, plan cartridge.Plan, with func(*wire.Assignment)) wire.ReleaseRef {
	text, err := json.Marshal(plan)
	require.NoError(c.t, err)
	a := wire.Assignment{Revision: revision, Archive: digest(tar), PlanID: digest(text), Plan: plan, Heartbeat: time.Second, Data: "vol-1"}
	with(&a)
	c.mu.Lock()
	c.archives[a.Archive] = tar
	c.assigned = a
	c.mu.Unlock()
	c.update(func(m *topology.Member) {
		m.Assigned = &topology.Release{Revision: a.Revision, Archive: a.Archive, Plan: a.PlanID, Config: a.Config}
	})
	return a.Release()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + hex.EncodeToString(sum[:])
}

func (c *controlPlane) lastStatus() wire.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.statuses) == 0 {
		return wire.Status{}
	}
	return c.statuses[len(c.statuses)-1]
}

// await waits for a status.
func (c *controlPlane) await(what string, is func(wire.Status) bool) wire.Status {
	c.t.Helper()
	var s wire.Status
	require.Eventually(c.t, func() bool { s = c.lastStatus(); return is(s) }, patience, 5*time.Millisecond, "no status: %s", what)
	return s
}

// awaitServing waits until a release serves, and returns its address.
func (c *controlPlane) awaitServing(ref wire.ReleaseRef) string {
	c.t.Helper()
	s := c.await("serving "+ref.Revision, func(s wire.Status) bool {
		return s.Phase == wire.PhaseReady && s.Serving != nil && s.Serving.Release == ref
	})
	return address(*s.Serving)
}

func address(r wire.Runtime) string { return fmt.Sprintf("http://127.0.0.1:%d", r.Ports["http"]) }

// heed writes what the last status says into the record, as the control plane does.
func (c *controlPlane) heed() {
	s := c.lastStatus()
	c.update(func(m *topology.Member) {
		m.Serving, m.Retiring = nil, nil
		if s.Serving != nil {
			r := record(*s.Serving)
			m.Serving = &r
		}
		for _, r := range s.Retiring {
			m.Retiring = append(m.Retiring, record(r))
		}
	})
}

func record(r wire.Runtime) topology.Runtime {
	return topology.Runtime{
		Release: topology.Release{Revision: r.Release.Revision, Archive: r.Release.Archive, Plan: r.Release.PlanID, Config: r.Release.Config},
		Ports:   r.Ports, TLS: r.TLS,
	}
}

// awaitLog waits for a line of the log.
func (c *controlPlane) awaitLog(source, text string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.logs, func(l wire.LogLine) bool { return l.Source == source && strings.Contains(l.Text, text) })
	}, patience, 10*time.Millisecond, "no line of %q: %q", source, text)
}
