package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/tenant"
)

// replica answers with a status, and counts.
type replica struct {
	*httptest.Server
	asked atomic.Int64
	code  atomic.Int64
	body  string
}

func newReplica(t testing.TB, code int, body string) *replica {
	r := &replica{body: body}
	r.code.Store(int64(code))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		if req.Header.Get("Authorization") != "Bearer secret" || strings.Contains(req.URL.String(), "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(int(r.code.Load()))
		fmt.Fprint(w, r.body)
	}))
	t.Cleanup(r.Close)
	return r
}

func TestAsksTheNextReplica(t *testing.T) {
	bad, good := newReplica(t, 503, `{"error":"no leader"}`), newReplica(t, 200, `{"token":"t"}`)
	c := &client.Client{URLs: []string{bad.URL, good.URL + "/"}, Token: "secret"}
	for range 3 {
		token, err := c.NewToken(t.Context(), tenant.TokenBalancer, "edge")
		require.NoError(t, err)
		require.Equal(t, "t", token)
	}
	require.EqualValues(t, 1, bad.asked.Load(), "the one that answered last is asked first")
	require.EqualValues(t, 3, good.asked.Load())

	good.code.Store(500)
	err := c.BalancerStatus(t.Context(), balancer.Status{Name: "edge"})
	require.ErrorContains(t, err, "no leader")
	require.NotContains(t, err.Error(), "secret")
}

func TestARefusalIsFinal(t *testing.T) {
	first, second := newReplica(t, 403, `{"error":"these credentials do not allow this"}`), newReplica(t, 200, `{}`)
	c := &client.Client{URLs: []string{first.URL, second.URL}, Token: "secret"}
	err := c.Post(t.Context(), "/v1/x", nil, nil)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 403, refused.Code)
	require.Equal(t, "these credentials do not allow this", refused.Text)
	require.Zero(t, second.asked.Load(), "every replica would say so")
}

func TestAReplicaThatHangsIsPassedOver(t *testing.T) {
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	good := newReplica(t, 200, `{}`)
	c := &client.Client{URLs: []string{hangs.URL, good.URL}, Token: "secret", Timeout: 50 * time.Millisecond}
	require.NoError(t, c.Post(t.Context(), "/v1/x", map[string]int{"a": 1}, nil))
}

func TestWhatCannotBeAsked(t *testing.T) {
	require.ErrorContains(t, (&client.Client{}).Post(t.Context(), "/v1/x", nil, nil), "no control plane")
	odd := newReplica(t, 200, `<html>`)
	var out map[string]any
	err := (&client.Client{URLs: []string{odd.URL}, Token: "secret"}).Post(t.Context(), "/v1/x", nil, &out)
	require.ErrorContains(t, err, "the answer of /v1/x")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, (&client.Client{URLs: []string{odd.URL}}).Post(ended, "/v1/x", nil, nil), context.Canceled)
}

func ExampleClient() {
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewEncoder(w).Encode(map[string]string{"token": "a-secret"}); err != nil {
			fmt.Println(err)
		}
	}))
	defer control.Close()

	c := &client.Client{URLs: []string{control.URL}, Token: "the administrator's"}
	token, err := c.NewToken(context.Background(), tenant.TokenBalancer, "edge")
	fmt.Println(token, err)
	// Output: a-secret <nil>
}
