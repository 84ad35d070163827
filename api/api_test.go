package api_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

const adminToken = "a-token-that-nobody-else-says"

// bed is an API over a store with two members of two clusters.
type bed struct {
	t        *testing.T
	store    store.Store
	web      *httptest.Server
	recorder *autoscale.Recorder
	wishes   wishes
	backups  *artifact.DirBlobs
	keys     map[topology.MemberID]ed25519.PrivateKey
	archive  artifact.Digest
	other    artifact.Digest
	current  artifact.Digest // of a's cluster
}

// wishes is the platform: it remembers what it was asked.
type wishes struct {
	api.Platform // what is not here is not asked
	asked        []string
}

func (w *wishes) Synchronise(ctx context.Context, t tenant.ID, alias string) error {
	if alias == "nosuch" {
		return fmt.Errorf("no subscription: %w", store.ErrNotFound)
	}
	w.asked = append(w.asked, fmt.Sprintf("synchronise %s/%s", t, alias))
	return nil
}

func (w *wishes) Scale(ctx context.Context, t tenant.ID, alias string, minimum, maximum int) error {
	if minimum > maximum {
		return tenant.ErrInvalid
	}
	w.asked = append(w.asked, fmt.Sprintf("scale %s/%s %d..%d", t, alias, minimum, maximum))
	return nil
}

func newBed(t *testing.T) *bed {
	ctx, cancel := context.WithCancel(t.Context())
	b := &bed{t: t, store: mem.New(), recorder: &autoscale.Recorder{}, backups: &artifact.DirBlobs{Path: t.TempDir()}, keys: map[topology.MemberID]ed25519.PrivateKey{}}
	blobs := &artifact.DirBlobs{Path: t.TempDir()}
	put := func(content string) artifact.Digest {
		d, err := blobs.Put(ctx, strings.NewReader(content))
		require.NoError(t, err)
		return d
	}
	b.archive, b.other, b.current = put("the archive"), put("another archive"), put("what is current")
	plan := put(`{"v":1,"cartridge":"proc"}`)
	for _, c := range []topology.ClusterID{"default.a", "default.b"} {
		id := topology.MemberID("member-of-" + string(c[len(c)-1:]))
		_, key, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		b.keys[id] = key
		hash := sha256.Sum256([]byte("join-" + id))
		cluster := topology.Cluster{ID: c, Tenant: "default"}
		if c == "default.a" {
			cluster.Current = &topology.Release{Revision: "r0", Archive: string(b.current)}
		}
		b.put(topology.ClusterKey(c), cluster)
		b.put(topology.MemberKey(c, id), topology.Member{
			ID: id, Cluster: c, State: topology.Starting, Address: "127.0.0.1", Instance: "i", JoinHash: hash[:],
			PublicKey: key.Public().(ed25519.PublicKey),
			Assigned:  &topology.Release{Revision: "r1", Archive: string(b.archive), Plan: string(plan)},
		})
	}
	b.put(tenant.TokenKey(adminToken), tenant.NewToken(adminToken, tenant.TokenAdmin, "test", time.Now()))
	mirror := &topology.Mirror{Store: b.store}
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	s := &api.Server{
		Store: b.store, Topology: mirror, Blobs: blobs, Recorder: b.recorder, Platform: &b.wishes,
		Controller: &controller.Controller{Store: b.store, Topology: mirror},
		Decisions:  func(topology.ClusterID) []autoscale.Decision { return nil },
		Logs:       &api.Logs{Dir: t.TempDir()}, Fleet: &balancer.Fleet{Store: b.store}, Backups: b.backups,
	}
	b.web = httptest.NewServer(s.Handler(ctx, store.NewID()))
	t.Cleanup(func() {
		cancel()
		b.web.Close()
		require.NoError(t, <-done)
		require.NoError(t, b.store.Close())
	})
	return b
}

func (b *bed) put(key string, v any) {
	b.t.Helper()
	rec := store.NewRecord(key, v)
	op, err := rec.Put()
	require.NoError(b.t, err)
	_, err = b.store.Commit(b.t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(b.t, err)
}

func (b *bed) member(id topology.MemberID) topology.Member {
	b.t.Helper()
	c := "default." + string(id[len(id)-1:])
	rec, err := store.Read[topology.Member](b.t.Context(), b.store, topology.MemberKey(topology.ClusterID(c), id))
	require.NoError(b.t, err)
	return rec.Value
}

// as says who sends a request.
type as func(b *bed, r *http.Request)

func nobody(*bed, *http.Request) {}

func bearer(token string) as {
	return func(b *bed, r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

var admin = bearer(adminToken)

func agentOf(id topology.MemberID) as { return signed(id, id, time.Now()) }

// signed claims to be a member, with another's key, at a time.
func signed(claims, key topology.MemberID, at time.Time) as {
	return func(b *bed, r *http.Request) {
		require.NoError(b.t, wire.Sign(r, "default."+string(claims[len(claims)-1:]), string(claims), b.keys[key], at))
	}
}

func (b *bed) do(method, path, body string, who as) (int, string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.web.URL+path, r)
	require.NoError(b.t, err)
	who(b, req)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	if strings.HasSuffix(req.URL.Path, "/watch") && resp.StatusCode == http.StatusOK {
		return resp.StatusCode, "" // a stream has no end
	}
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp.StatusCode, string(text)
}

func TestWhoMayDoWhat(t *testing.T) {
	b := newBed(t)
	const sub = "/v1/tenants/default/subscriptions/a"
	a := topology.MemberID("member-of-a")
	mine := wire.ArchivePath + string(b.archive)
	for _, c := range []struct {
		name, method, path, body string
		who                      as
		want                     int
	}{
		{"health needs nothing", "GET", "/healthz", "", nobody, 200},
		{"topology, nobody", "GET", "/v1/topology", "", nobody, 401},
		{"topology, wrong token", "GET", "/v1/topology", "", bearer("wrong"), 401},
		{"topology, empty token", "GET", "/v1/topology", "", bearer(""), 401},
		{"topology, administrator", "GET", "/v1/topology", "", admin, 200},
		{"topology, bad scope", "GET", "/v1/topology?scope=everything", "", admin, 400},
		{"topology, an agent all of it", "GET", "/v1/topology", "", agentOf(a), 403},
		{"topology, an agent its own", "GET", "/v1/topology?scope=cluster=default.a", "", agentOf(a), 200},
		{"topology, an agent another's", "GET", "/v1/topology?scope=cluster=default.b", "", agentOf(a), 403},
		{"watch, an agent its own", "GET", "/v1/topology/watch?scope=cluster=default.a", "", agentOf(a), 200},
		{"watch, an agent another's", "GET", "/v1/topology/watch?scope=cluster=default.b", "", agentOf(a), 403},
		{"watch, nobody", "GET", "/v1/topology/watch", "", nobody, 401},
		{"unknown path, nobody", "GET", "/v1/nosuch", "", nobody, 401},
		{"unknown path, administrator", "GET", "/v1/nosuch", "", admin, 404},
		{"samples, nobody", "POST", "/v1/samples", "{}", nobody, 401},
		{"samples, an agent", "POST", "/v1/samples", "{}", agentOf(a), 401},
		{"samples, no JSON", "POST", "/v1/samples", "x", admin, 400},
		{"samples, invalid", "POST", "/v1/samples", `{"source":""}`, admin, 400},
		{"decisions", "GET", "/v1/clusters/default.a/decisions", "", admin, 200},
		{"subscription that is not there", "GET", sub, "", admin, 404},
		{"synchronise, nobody", "POST", sub + "/synchronise", "", nobody, 401},
		{"synchronise", "POST", sub + "/synchronise", "", admin, 202},
		{"synchronise what is not there", "POST", "/v1/tenants/default/subscriptions/nosuch/synchronise", "", admin, 404},
		{"scale without bounds", "POST", sub + "/scale", "{}", admin, 400},
		{"scale the wrong way round", "POST", sub + "/scale", `{"min":3,"max":1}`, admin, 400},
		{"scale", "POST", sub + "/scale", `{"min":1,"max":3}`, admin, 204},
		{"logs, a name with dots", "GET", "/v1/tenants/default/subscriptions/..%2f..%2fx/logs", "", admin, 400},
		{"logs, bad number", "GET", sub + "/logs?lines=-1", "", admin, 400},
		{"logs", "GET", sub + "/logs", "", admin, 200},
		{"assignment, administrator", "GET", wire.AssignmentPath, "", admin, 401},
		{"assignment, its agent", "GET", wire.AssignmentPath, "", agentOf(a), 200},
		{"assignment, with another's key", "GET", wire.AssignmentPath, "", signed(a, "member-of-b", time.Now()), 401},
		{"assignment, an old signature", "GET", wire.AssignmentPath, "", signed(a, a, time.Now().Add(-wire.Skew-time.Minute)), 401},
		{"archive, its own", "GET", mine, "", agentOf(a), 200},
		{"archive, current in its cluster", "GET", wire.ArchivePath + string(b.current), "", agentOf(a), 200},
		{"archive, current in another's", "GET", wire.ArchivePath + string(b.current), "", agentOf("member-of-b"), 403},
		{"archive, another", "GET", wire.ArchivePath + string(b.other), "", agentOf(a), 403},
		{"archive, nobody", "GET", mine, "", nobody, 401},
		{"status, no JSON", "POST", wire.StatusPath, "x", agentOf(a), 400},
		{"a body over the limit", "POST", "/v1/samples", strings.Repeat(" ", api.MaxBody+1), admin, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := b.do(c.method, c.path, c.body, c.who)
			require.Equal(t, c.want, code, body)
			if code >= 400 {
				var e struct{ Error string }
				require.NoError(t, json.Unmarshal([]byte(body), &e))
				require.NotEmpty(t, e.Error)
				require.NotContains(t, body, adminToken)
			}
		})
	}
	require.Equal(t, []string{"synchronise default/a", "scale default/a 1..3"}, b.wishes.asked)
}

func TestJoinGivesTheAssignment(t *testing.T) {
	b := newBed(t)
	m := b.member("member-of-a")
	m.State, m.PublicKey = topology.Initialized, nil
	b.put(topology.MemberKey(m.Cluster, m.ID), m)
	pub := b.keys[m.ID].Public().(ed25519.PublicKey)
	ask := func(change func(*wire.JoinRequest)) (int, string) {
		r := wire.JoinRequest{V: wire.Version, Cluster: string(m.Cluster), Member: string(m.ID), Token: "join-" + string(m.ID), PublicKey: pub}
		change(&r)
		body, err := json.Marshal(r)
		require.NoError(t, err)
		return b.do("POST", wire.JoinPath, string(body), nobody)
	}
	code, _ := ask(func(r *wire.JoinRequest) { r.Token = "wrong" })
	require.Equal(t, 403, code)
	code, body := ask(func(r *wire.JoinRequest) { r.V = 99 })
	require.Equal(t, 403, code)
	require.Contains(t, body, "version 99")
	code, _ = ask(func(r *wire.JoinRequest) { r.Member = "nosuch" })
	require.Equal(t, 410, code)
	code, body = ask(func(*wire.JoinRequest) {})
	require.Equal(t, 200, code, body)
	var a wire.Assignment
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	require.Equal(t, "r1", a.Revision)
	require.Equal(t, "proc", a.Plan.Cartridge)
	require.Equal(t, 15*time.Second, a.Heartbeat)
	require.Equal(t, topology.Starting, b.member(m.ID).State)
}

func TestStatusMovesTheMember(t *testing.T) {
	b := newBed(t)
	m := b.member("member-of-a")
	status := wire.Status{Seq: 1, Phase: wire.PhaseReady, Restarts: 2, Serving: &wire.Runtime{
		Release: wire.ReleaseRef{Revision: m.Assigned.Revision, Archive: m.Assigned.Archive, PlanID: m.Assigned.Plan},
		Ports:   map[string]int{"http": 20000},
	}}
	send := func() int {
		body, err := json.Marshal(status)
		require.NoError(t, err)
		code, _ := b.do("POST", wire.StatusPath, string(body), agentOf(m.ID))
		return code
	}
	require.Equal(t, 204, send())
	now := b.member(m.ID)
	require.Equal(t, topology.Active, now.State)
	require.Equal(t, *m.Assigned, now.Serving.Release)
	require.Equal(t, 2, now.Restarts)

	status.Phase = wire.PhaseStarting
	require.Equal(t, 204, send(), "an old number is passed over")
	require.Equal(t, topology.Active, b.member(m.ID).State)
	status.Seq = 2
	status.Refused = &wire.Refused{Release: wire.ReleaseRef{Revision: "r2"}, Reason: "it crashed", Log: strings.Repeat("x\n", 8<<10)}
	require.Equal(t, 204, send())
	now = b.member(m.ID)
	require.Equal(t, topology.Starting, now.State)
	require.Equal(t, "it crashed", now.Refused.Reason)
	require.LessOrEqual(t, len(now.Refused.Log), 8<<10, "what an agent sends is bounded")

	now.State = topology.Terminating
	b.put(topology.MemberKey(m.Cluster, m.ID), now)
	status.Seq = 3
	require.Equal(t, 410, send(), "it is told to stop")
}

func TestSamplesReachTheRecorder(t *testing.T) {
	b := newBed(t)
	one := `{"source":"s","seq":%d,"cluster":"default.a","seconds":1,"inFlightSeconds":7,"arrivals":1,"served":1}`
	code, body := b.do("POST", "/v1/samples", fmt.Sprintf("["+one+","+one+"]", 1, 2), admin)
	require.Equal(t, 204, code, body)
	samples, _ := b.recorder.Observe("default.a", time.Now(), time.Second)
	require.NotEmpty(t, samples)
	require.InDelta(t, 7, samples[len(samples)-1].InFlight, 7)
}

func TestAgentsLoadIsASignal(t *testing.T) {
	b := newBed(t)
	body, err := json.Marshal(wire.Status{Seq: 1, Phase: wire.PhaseStarting, Load: 1.5, Memory: 1 << 20})
	require.NoError(t, err)
	code, text := b.do("POST", wire.StatusPath, string(body), agentOf("member-of-a"))
	require.Equal(t, 204, code, text)
	samples, _ := b.recorder.Observe("default.a", time.Now(), time.Second)
	require.Empty(t, samples, "an agent says nothing of traffic")
	code, text = b.do("POST", "/v1/samples", `{"source":"s","seq":1,"cluster":"default.a","seconds":1,"inFlightSeconds":7,"arrivals":1,"served":1}`, admin)
	require.Equal(t, 204, code, text)
	samples, _ = b.recorder.Observe("default.a", time.Now(), time.Second)
	require.NotEmpty(t, samples)
	last := samples[len(samples)-1]
	require.Equal(t, [2]float64{1.5, 1 << 20}, [2]float64{last.LoadAverage, last.Memory})
}

func TestLogsAreKeptOnceAndInOrder(t *testing.T) {
	b := newBed(t)
	lines := func(from uint64, texts ...string) string {
		l := wire.Logs{From: from}
		for i, text := range texts {
			l.Lines = append(l.Lines, wire.LogLine{At: time.Unix(int64(from)+int64(i), 0), Source: "web", Text: text})
		}
		body, err := json.Marshal(l)
		require.NoError(t, err)
		return string(body)
	}
	for _, body := range []string{lines(0, "a", "b"), lines(0, "a", "b"), lines(1, "b", "c"), lines(5, "f")} {
		code, text := b.do("POST", wire.LogsPath, body, agentOf("member-of-a"))
		require.Equal(t, 204, code, text)
	}
	code, body := b.do("GET", "/v1/tenants/default/subscriptions/a/logs?lines=3", "", admin)
	require.Equal(t, 200, code)
	var got []api.LogLine
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	var texts []string
	for _, l := range got {
		texts = append(texts, fmt.Sprintf("%d %s", l.N, l.Text))
	}
	require.Equal(t, []string{"1 b", "2 c", "5 f"}, texts)
}

func TestLogsSurviveARestartAndRotate(t *testing.T) {
	dir := t.TempDir()
	logs := &api.Logs{Dir: dir, MaxBytes: 2000}
	line := func(n int) wire.Logs {
		return wire.Logs{From: uint64(n), Lines: []wire.LogLine{{At: time.Unix(int64(n), 0), Text: strings.Repeat("x", 100)}}}
	}
	for n := range 50 {
		if n%10 == 0 {
			logs = &api.Logs{Dir: dir, MaxBytes: 2000} // another process
		}
		require.NoError(t, logs.Append("default.a", "m", line(n)))
		require.NoError(t, logs.Append("default.a", "m", line(max(0, n-1))), "said twice")
	}
	kept, err := logs.Tail("default.a", api.LogQuery{Lines: 1000})
	require.NoError(t, err)
	require.Less(t, len(kept), 50, "old lines went")
	for i, l := range kept {
		require.Equal(t, uint64(50-len(kept)+i), l.N, "none is missing or twice")
	}
	require.NoError(t, logs.Forget("default.a"))
	kept, err = logs.Tail("default.a", api.LogQuery{Lines: 10})
	require.NoError(t, err)
	require.Empty(t, kept)
}

func TestHealthSaysWhenTheStoreIsGone(t *testing.T) {
	s := mem.New()
	h := (&api.Server{Store: s, Controller: &controller.Controller{}, Topology: &topology.Latest{}}).Handler(t.Context(), store.NewID())
	get := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return w.Code, w.Body.String()
	}
	code, _ := get()
	require.Equal(t, 200, code)
	require.NoError(t, s.Close())
	code, body := get()
	require.Equal(t, 500, code)
	require.NotContains(t, body, "closed", "internals stay inside")
}

func TestAnEmptyTokenLetsNobodyIn(t *testing.T) {
	h := (&api.Server{Store: mem.New(), Controller: &controller.Controller{}, Topology: &topology.Latest{}}).Handler(t.Context(), store.NewID())
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v1/topology", nil)
	r.Header.Set("Authorization", "Bearer ")
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
}

func ExampleLogs() {
	dir, err := os.MkdirTemp("", "logs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	logs := &api.Logs{Dir: dir}
	said := wire.Logs{From: 0, Lines: []wire.LogLine{{Source: "web", Text: "listening"}}}
	for range 2 { // the agent did not hear that the first one arrived
		if err := logs.Append("default.shop", "m1", said); err != nil {
			fmt.Println(err)
		}
	}
	lines, err := logs.Tail("default.shop", api.LogQuery{})
	for _, l := range lines {
		fmt.Println(l.Member, l.N, l.Text)
	}
	fmt.Println(err)
	// Output:
	// m1 0 listening
	// <nil>
}
