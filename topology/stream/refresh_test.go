package stream_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// statuses is a transport that tells the status of each snapshot's answer.
type statuses chan int

func (s statuses) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.URL.Path == stream.SnapshotPath {
		select {
		case s <- resp.StatusCode:
		default:
		}
	}
	return resp, err
}

func TestRefreshAsksWhetherSomethingIsNew(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	rev := b.cluster("a", 0)
	seen := make(statuses, 1)
	c := &stream.Client{Refresh: 20 * time.Millisecond, HTTP: &http.Client{Transport: seen}}
	b.follow(c)
	b.same(c, rev, stream.Scope{})
	for range 3 {
		select {
		case status := <-seen:
			require.Contains(t, []int{http.StatusOK, http.StatusNotModified}, status)
			if status == http.StatusOK {
				continue // it asked before it had anything
			}
		case <-b.ctx.Done():
			require.Fail(t, "it never asks")
		}
	}
	rev = b.cluster("b", 0)
	b.same(c, rev, stream.Scope{})
	require.Zero(t, c.Stats().Mismatches+c.Stats().Lost+c.Stats().Refused)
}

// snapOf is the snap frame of a whole view.
func snapOf(t *testing.T, v *topology.View, storeID string) string {
	t.Helper()
	b, err := stream.FormatFile(v, stream.Scope{}, storeID)
	require.NoError(t, err)
	_, lines, _ := bytes.Cut(b, []byte{'\n'})
	require.Equal(t, 1, bytes.Count(lines, []byte{'\n'}))
	return string(bytes.TrimSpace(lines))
}

func TestClientDoubtsASnapshotWithoutItsMembers(t *testing.T) {
	full := view(t, members(10, topology.Active, nil))
	value, err := json.Marshal(topology.Cluster{ID: "c"})
	require.NoError(t, err)
	empty, err := (&topology.View{}).With(2, []store.Event{{KV: store.KV{Key: topology.ClusterKey("c"), Mod: 1, Value: value}}})
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		doubt time.Duration
		taken bool
	}{{"until it has been so for a while", 50 * time.Millisecond, true}, {"as long as it takes", time.Hour, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{streams: [][]string{{snapOf(t, full, "one.1"), `{"t":"compacted","rev":2}`}, {}}, snapshot: snapOf(t, empty, "one.1")}
			client := clientOf(t, s)
			client.Doubt = c.doubt
			run(t, client)
			if c.taken {
				v, err := client.Next(t.Context(), 1)
				require.NoError(t, err)
				require.Empty(t, v.Cluster("c").Members())
				require.Positive(t, client.Stats().Refused)
				return
			}
			require.Eventually(t, func() bool { return client.Stats().Refused > 3 }, 30*time.Second, time.Millisecond)
			v, err := client.Next(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, v.Cluster("c").Members(), 10)
		})
	}
}
