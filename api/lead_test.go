package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// follower adds a second replica, which does not lead, to a bed.
func (b *bed) follower(leader func() (string, bool)) *httptest.Server {
	ctx, cancel := context.WithCancel(b.t.Context())
	mirror := &topology.Mirror{Store: b.store}
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	s := &api.Server{
		Store: b.store, Topology: mirror, Recorder: &autoscale.Recorder{}, Platform: &b.wishes,
		Controller: &controller.Controller{Store: b.store, Topology: mirror},
		Decisions:  func(topology.ClusterID) []autoscale.Decision { return nil },
		Logs:       &api.Logs{Dir: b.t.TempDir()}, Fleet: &balancer.Fleet{Store: b.store},
		Leader: leader,
	}
	web := httptest.NewServer(s.Handler(ctx, store.NewID()))
	b.t.Cleanup(func() {
		cancel()
		web.Close()
		require.NoError(b.t, <-done)
	})
	return web
}

const sample = `{"source":"s","seq":1,"cluster":"default.a","seconds":1,"inFlightSeconds":2}`

func TestFollowerPassesOnToTheLeader(t *testing.T) {
	b := newBed(t)
	leader := b.web
	b.web = b.follower(func() (string, bool) { return leader.URL, false }) // ask the follower from now on

	code, body := b.do("POST", "/v1/samples", sample, admin)
	require.Equal(t, http.StatusNoContent, code, body)
	samples, _ := b.recorder.Observe("default.a", time.Now(), time.Second)
	require.NotEmpty(t, samples, "the leader has it")

	code, body = b.do("POST", "/v1/samples", sample, bearer("wrong"))
	require.Equal(t, http.StatusUnauthorized, code, "the leader checks the sender: %s", body)

	// An agent's signature goes with its request.
	code, body = b.do("POST", "/v1/agent/status", `{"seq":1,"phase":"starting","reason":"soon"}`, agentOf("member-of-a"))
	require.Equal(t, http.StatusNoContent, code, body)

	code, body = b.do("GET", "/v1/leader", "", admin)
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"leader":"`+leader.URL+`","self":false}`, body)
}

func TestWithoutALeaderItIsSaidSo(t *testing.T) {
	b := newBed(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct{ name, leader string }{{"nobody leads", ""}, {"the leader is away", gone.URL}, {"no address", "::"}} {
		t.Run(c.name, func(t *testing.T) {
			f := *b
			f.t, f.web = t, b.follower(func() (string, bool) { return c.leader, false })
			code, body := f.do("POST", "/v1/samples", sample, admin)
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, body, "no leader can be reached just now")
		})
	}
}

// Two replicas that take each other for the leader do not send a request round and round.
func TestNothingGoesInCircles(t *testing.T) {
	b := newBed(t)
	var one atomic.Pointer[httptest.Server]
	two := b.follower(func() (string, bool) { return one.Load().URL, false })
	one.Store(b.follower(func() (string, bool) { return two.URL, false }))
	b.web = two
	code, _ := b.do("POST", "/v1/samples", sample, admin)
	require.Equal(t, http.StatusServiceUnavailable, code)
}

func TestTokens(t *testing.T) {
	b := newBed(t)
	code, body := b.do("POST", "/v1/tokens", `{"kind":"balancer","name":"edge"}`, admin)
	require.Equal(t, http.StatusOK, code, body)
	var made struct{ Token, ID string }
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	edge := bearer(made.Token)

	page, err := b.store.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	for _, kv := range page.KVs {
		require.NotContains(t, kv.Key+string(kv.Value), made.Token, "the secret is nowhere")
	}
	code, body = b.do("GET", "/v1/tokens", "", admin)
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, "hash")
	require.Contains(t, body, `"name":"edge"`)

	for _, c := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"samples", "POST", "/v1/samples", sample, http.StatusNoContent},
		{"its status", "POST", "/v1/balancers", `{"name":"edge","seq":1}`, http.StatusNoContent},
		{"a status without a name", "POST", "/v1/balancers", `{"seq":2}`, http.StatusBadRequest},
		{"the topology", "GET", "/v1/topology", "", http.StatusOK},
		{"no wishes", "POST", "/v1/tenants/default/subscriptions/a/scale", `{"min":1,"max":2}`, http.StatusForbidden},
		{"no tokens", "POST", "/v1/tokens", `{"kind":"admin","name":"mine"}`, http.StatusForbidden},
		{"no hints of replicas", "POST", "/v1/replicas/hungup", `{}`, http.StatusForbidden},
		{"no logs", "GET", "/v1/tenants/default/subscriptions/a/logs", "", http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := b.do(c.method, c.path, c.body, edge)
			require.Equal(t, c.want, code, body)
		})
	}

	code, body = b.do("POST", "/v1/tokens", `{"kind":"root","name":"x"}`, admin)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, body, "want admin or balancer")
	code, _ = b.do("POST", "/v1/tokens", `{"kind":"admin","name":"`+strings.Repeat("x", 50)+`"}`, admin)
	require.Equal(t, http.StatusBadRequest, code)
}

func TestHolds(t *testing.T) {
	b := newBed(t)
	code, body := b.do("GET", "/v1/holds", "", admin)
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"replacements":[],"orphans":[],"refusals":[]}`, body)
	for kind, want := range map[string]int{"replacements": http.StatusNoContent, "orphans": http.StatusNoContent, "others": http.StatusBadRequest} {
		code, body := b.do("POST", "/v1/holds/"+kind+"/release", "", admin)
		require.Equal(t, want, code, body)
	}
	kv, _, err := b.store.Get(t.Context(), "controller/consent", store.ReadOptions{})
	require.NoError(t, err, "an operator's consent is a record: it reaches whoever leads")
	require.NotEmpty(t, kv.Value)
	code, _ = b.do("GET", "/v1/holds", "", nobody)
	require.Equal(t, http.StatusUnauthorized, code)
}
