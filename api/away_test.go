package api_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// engineTimeout is what an engine gives a caller who would wait for ever.
const engineTimeout = 10 * time.Second

// farStore is a store on another machine: while it is away, its calls end with
// their context, or after the engine's own time; while ill, they fail.
type farStore struct {
	store.Store
	away atomic.Bool
	ill  atomic.Pointer[error]
}

func (f *farStore) reach(ctx context.Context) error {
	if ill := f.ill.Load(); ill != nil {
		return *ill
	}
	if !f.away.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func (f *farStore) Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	if err := f.reach(ctx); err != nil {
		return store.KV{}, 0, err
	}
	return f.Store.Get(ctx, key, o)
}

func (f *farStore) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	if err := f.reach(ctx); err != nil {
		return store.Page{}, err
	}
	return f.Store.List(ctx, prefix, o)
}

func (f *farStore) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	if err := f.reach(ctx); err != nil {
		return 0, &store.UnknownError{Err: err}
	}
	return f.Store.Commit(ctx, t)
}

// recordedWishes is a platform that records what it is asked.
type recordedWishes struct {
	api.Platform // what is not here is not asked
	store        store.Store
}

func (p recordedWishes) Synchronise(ctx context.Context, t tenant.ID, alias string) error {
	_, err := p.store.Commit(ctx, store.Txn{Then: []store.Op{{Key: "wish", Value: []byte(alias)}}})
	return err
}

func (p recordedWishes) Scale(ctx context.Context, t tenant.ID, alias string, _, _ int) error {
	return p.Synchronise(ctx, t, alias)
}

const replicaToken = "what the replicas share"

// farBed is an API whose store is on another machine, in a synctest bubble.
type farBed struct {
	*bed
	store   *farStore
	handler http.Handler
}

func newFarBed(t *testing.T) *farBed {
	far := &farStore{Store: mem.New()}
	b := &farBed{bed: &bed{t: t, store: far, keys: map[topology.MemberID]ed25519.PrivateKey{}}, store: far}
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	const id, c = topology.MemberID("member-of-a"), topology.ClusterID("default.a")
	b.keys[id] = key
	join := sha256.Sum256(nil)
	b.put(topology.ClusterKey(c), topology.Cluster{ID: c, Tenant: "default"})
	b.put(topology.MemberKey(c, id), topology.Member{
		ID: id, Cluster: c, State: topology.Starting, Address: "127.0.0.1", Instance: "i", JoinHash: join[:],
		PublicKey: key.Public().(ed25519.PublicKey),
	})
	b.put(tenant.TokenKey(adminToken), tenant.NewToken(adminToken, tenant.TokenAdmin, "test", time.Now()))
	ctx, cancel := context.WithCancel(t.Context())
	mirror := &topology.Mirror{Store: far}
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	_, err = mirror.Next(ctx, 0)
	require.NoError(t, err)
	s := &api.Server{
		Store: far, Topology: mirror, Blobs: &artifact.DirBlobs{Path: t.TempDir()}, Recorder: &autoscale.Recorder{},
		Controller: &controller.Controller{Store: far, Topology: mirror}, Platform: recordedWishes{store: far},
		Decisions: func(topology.ClusterID) []autoscale.Decision { return nil },
		Logs:      &api.Logs{Dir: t.TempDir()}, Fleet: &balancer.Fleet{Store: far}, ReplicaToken: replicaToken,
	}
	b.handler = s.Handler(ctx, store.NewID())
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, far.Close())
	})
	return b
}

// ask returns the answer, and how long it took.
func (b *farBed) ask(method, path, body string, who as) (*httptest.ResponseRecorder, time.Duration) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	who(b.bed, r)
	w := httptest.NewRecorder()
	began := time.Now()
	b.handler.ServeHTTP(w, r)
	return w, time.Since(began)
}

// itsAgent signs in the bubble's time.
func itsAgent(b *bed, r *http.Request) { agentOf("member-of-a")(b, r) }

// joining is a join with somebody's key.
const joining = `{"v":1,"cluster":"default.a","member":"member-of-a","publicKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`

// needing are requests that cannot be answered without the store.
var needing = []struct {
	name, method, path, body string
	who                      as
	unknown                  bool // it may have been recorded
}{
	{"health", "GET", "/healthz", "", nobody, false},
	{"the topology", "GET", "/v1/topology", "", admin, false},
	{"the stream", "GET", "/v1/topology/watch", "", admin, false},
	{"samples", "POST", "/v1/samples", sample, admin, false},
	{"a subscription", "GET", "/v1/tenants/default/subscriptions/a", "", admin, false},
	{"a wish", "POST", "/v1/tenants/default/subscriptions/a/scale", `{"min":1,"max":2}`, admin, false},
	{"tokens", "GET", "/v1/tokens", "", admin, false},
	{"a join", "POST", wire.JoinPath, joining, nobody, false},
	{"an assignment", "GET", wire.AssignmentPath, "", itsAgent, false},
	{"an archive", "GET", wire.ArchivePath + "x", "", itsAgent, false},
	{"a status", "POST", wire.StatusPath, `{"seq":1,"phase":"starting","reason":"soon"}`, itsAgent, false},
	{"a certificate", "POST", wire.CertificatePath, `{}`, itsAgent, false},
	{"a new balancer", "POST", "/v1/balancers", `{"name":"edge","seq":1}`, bearer(replicaToken), true},
}

// TestStoreAway: a replica that is cut off from its store says so, soon, so
// that the next one is asked.
func TestStoreAway(t *testing.T) {
	for _, c := range needing {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFarBed(t)
				b.store.away.Store(true)
				w, took := b.ask(c.method, c.path, c.body, c.who)
				require.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
				require.LessOrEqual(t, took, 3*time.Second)
				require.Equal(t, "1", w.Header().Get("Retry-After"))
				var e struct{ Error string }
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body)
				require.Contains(t, e.Error, "the store does not answer this replica")
				require.Contains(t, e.Error, "another replica")
				require.Equal(t, c.unknown, strings.Contains(e.Error, "may have been"), e.Error)

				b.store.away.Store(false)
				w, _ = b.ask(c.method, c.path, c.body, c.who)
				require.NotEqual(t, http.StatusServiceUnavailable, w.Code, w.Body)
			})
		})
	}
}

// TestStoreIll: what is wrong with a store that answers is no reason to ask
// another replica; it is logged, and stays inside.
func TestStoreIll(t *testing.T) {
	for _, c := range needing {
		if c.unknown {
			continue // its outcome is
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFarBed(t)
				bug := errors.New("record x: invalid character")
				b.store.ill.Store(&bug)
				w, _ := b.ask(c.method, c.path, c.body, c.who)
				require.Equal(t, http.StatusInternalServerError, w.Code, w.Body)
				require.NotContains(t, w.Body.String(), "invalid character")
			})
		})
	}
}

// TestStoreFull: it is said what to do.
func TestStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFarBed(t)
		for _, full := range []error{store.ErrFull, &store.UnknownError{Err: store.ErrFull}} {
			b.store.ill.Store(&full)
			w, _ := b.ask("POST", "/v1/tokens", `{"kind":"balancer","name":"edge"}`, admin)
			require.Equal(t, http.StatusInsufficientStorage, w.Code, w.Body)
			require.Contains(t, w.Body.String(), "free some disk space")
		}
	})
}

// slowBody takes its time.
type slowBody struct {
	*strings.Reader
	takes time.Duration
}

func (s *slowBody) Read(p []byte) (int, error) {
	time.Sleep(s.takes) // in the bubble's time: a client on a slow line
	s.takes = 0
	return s.Reader.Read(p)
}

// TestSlowSender: the time in which a request arrives is not the store's.
func TestSlowSender(t *testing.T) {
	for _, c := range needing {
		if c.body == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFarBed(t)
				r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, &slowBody{strings.NewReader(c.body), time.Minute})
				r.ContentLength = int64(len(c.body))
				c.who(b.bed, r)
				w := httptest.NewRecorder()
				b.handler.ServeHTTP(w, r)
				require.NotEqual(t, http.StatusServiceUnavailable, w.Code, w.Body)
			})
		})
	}
}
