package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// script is a control plane that says what it is told: one list of lines for
// each stream, and snapshots.
type script struct {
	mu       sync.Mutex
	streams  [][]string
	snapshot string // empty: 404
	asked    []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.RequestURI())
	if r.URL.Path == stream.SnapshotPath {
		defer s.mu.Unlock()
		if s.snapshot == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintln(w, s.snapshot)
		return
	}
	var lines []string
	if len(s.streams) > 0 {
		lines, s.streams = s.streams[0], s.streams[1:]
	}
	last := len(s.streams) == 0
	s.mu.Unlock()
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	if last {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// snap is a snap frame of one cluster for each id, written at the revision.
func snap(t testing.TB, storeID string, rev store.Revision, ids ...topology.ClusterID) string {
	t.Helper()
	var events []store.Event
	changes := ""
	for i, id := range ids {
		value := fmt.Sprintf(`{"id":%q}`, id)
		events = append(events, store.Event{KV: store.KV{Key: topology.ClusterKey(id), Value: []byte(value), Mod: rev}})
		if i > 0 {
			changes += ","
		}
		changes += fmt.Sprintf(`{"key":%q,"mod":%d,"value":%s}`, topology.ClusterKey(id), rev, value)
	}
	v, err := (&topology.View{}).With(rev, events)
	require.NoError(t, err)
	return fmt.Sprintf(`{"t":"snap","rev":%d,"store":%q,"digest":%q,"n":%d,"changes":[%s]}`, rev, storeID, v.Digest(), v.Digest().N(), changes)
}

func ev(after, rev store.Revision, id topology.ClusterID) string {
	return fmt.Sprintf(`{"t":"ev","after":%d,"rev":%d,"changes":[{"key":%q,"mod":%d,"value":{"id":%q}}]}`, after, rev, topology.ClusterKey(id), rev, id)
}

// clientOf is a client of a script.
func clientOf(t *testing.T, s *script) *stream.Client {
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return &stream.Client{URLs: []string{web.URL}, Retry: 10 * time.Millisecond}
}

// play lets a client follow a script.
func play(t *testing.T, s *script) *stream.Client {
	c := clientOf(t, s)
	run(t, c)
	return c
}

func TestClientRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		streams  [][]string
		snapshot string
		rev      store.Revision // wait until the readers see it
		has, not []topology.ClusterID
		stats    stream.Stats
	}{
		{
			name: "another platform is refused", rev: 12, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"a", "x"},
			streams: [][]string{{snap(t, "one.1", 10, "a")}, {snap(t, "two.1", 99, "x")}, {snap(t, "one.1", 12, "b")}},
			stats:   stream.Stats{Snapshots: 2, Refused: 1},
		}, {
			name: "an old replica is refused", rev: 12, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"a", "x"},
			streams: [][]string{{snap(t, "one.1", 10, "a")}, {snap(t, "one.1", 3, "x")}, {snap(t, "one.1", 12, "b")}},
			stats:   stream.Stats{Snapshots: 2, Refused: 1},
		}, {
			name: "an older generation is refused", rev: 12, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"x"},
			streams: [][]string{{snap(t, "one.2", 10, "a")}, {snap(t, "one.1", 99, "x")}, {snap(t, "one.2", 12, "b")}},
			stats:   stream.Stats{Snapshots: 2, Refused: 1},
		}, {
			name: "a restored store is taken, and readers do not go back", rev: 11, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"a"},
			streams: [][]string{{snap(t, "one.1", 10, "a")}, {snap(t, "one.2", 4, "b")}},
			stats:   stream.Stats{Snapshots: 2},
		}, {
			name: "the stream goes on", rev: 12, has: []topology.ClusterID{"a", "b", "c"},
			streams: [][]string{{snap(t, "one.1", 10, "a"), ev(10, 11, "b")}, {ev(11, 12, "c")}},
			stats:   stream.Stats{Snapshots: 1, Frames: 2},
		}, {
			name: "a frame that comes twice, or late, changes nothing", rev: 12, has: []topology.ClusterID{"a", "b", "c"}, not: []topology.ClusterID{"x"},
			streams: [][]string{{snap(t, "one.1", 10, "a"), ev(10, 11, "b"), ev(10, 11, "x"), ev(1, 2, "x"), ev(11, 12, "c")}},
			stats:   stream.Stats{Snapshots: 1, Frames: 4},
		}, {
			name: "a frame is missing: the snapshot is read", rev: 20, has: []topology.ClusterID{"a", "b"}, not: []topology.ClusterID{"c"},
			streams:  [][]string{{snap(t, "one.1", 10, "a"), ev(11, 12, "c")}, {}},
			snapshot: snap(t, "one.1", 20, "a", "b"), stats: stream.Stats{Snapshots: 2, Frames: 1, Lost: 1},
		}, {
			name: "the place is compacted away: the snapshot is read", rev: 20, has: []topology.ClusterID{"b"},
			streams:  [][]string{{snap(t, "one.1", 10, "a"), `{"t":"compacted","rev":19}`}, {}},
			snapshot: snap(t, "one.1", 20, "b"), stats: stream.Stats{Snapshots: 2, Frames: 1, Lost: 1},
		}, {
			name: "the digest differs at the same revision: readers get what is right", rev: 11, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"a"},
			streams:  [][]string{{snap(t, "one.1", 10, "a"), `{"t":"sync","rev":10,"digest":"ff","n":1}`}, {}},
			snapshot: snap(t, "one.1", 10, "b"), stats: stream.Stats{Snapshots: 2, Frames: 1, Lost: 1, Mismatches: 1},
		}, {
			name: "a snapshot that does not sum up is not taken", rev: 12, has: []topology.ClusterID{"b"}, not: []topology.ClusterID{"a"},
			streams: [][]string{{strings.Replace(snap(t, "one.1", 20, "a"), `"n":1`, `"n":2`, 1)}, {snap(t, "one.1", 12, "b")}},
			stats:   stream.Stats{Snapshots: 1, Mismatches: 1},
		}, {
			name: "a server without snapshots gives one in the stream", rev: 20, has: []topology.ClusterID{"b"},
			streams: [][]string{{snap(t, "one.1", 10, "a"), `{"t":"compacted","rev":19}`}, {snap(t, "one.1", 20, "b")}},
			stats:   stream.Stats{Snapshots: 2, Frames: 1, Lost: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := play(t, &script{streams: c.streams, snapshot: c.snapshot})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			v, err := client.Next(ctx, c.rev-1)
			require.NoError(t, err)
			for _, id := range c.has {
				require.NotNil(t, v.Cluster(id), id)
			}
			for _, id := range c.not {
				require.Nil(t, v.Cluster(id), id)
			}
			require.Equal(t, c.stats, client.Stats())
		})
	}
}

func TestClientSaysWhatItHas(t *testing.T) {
	s := &script{streams: [][]string{{snap(t, "one.1", 10, "a")}, {ev(10, 11, "b")}}}
	_, err := play(t, s).Next(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{
		stream.WatchPath + "?scope=all",
		stream.WatchPath + "?after=10&scope=all&store=one.1",
	}, s.requests())
}

func FuzzFold(f *testing.F) {
	f.Add([]byte(snap(f, "one.1", 10, "a") + "\n" + ev(10, 11, "b") + "\n" + `{"t":"sync","rev":11,"digest":"0","n":2}`))
	f.Add([]byte(`{"t":"snap","rev":1,"store":"s","more":true,"changes":[{"key":"members/a"},{"key":"members/a/m","mod":-1,"value":{}}]}` + "\n" + snap(f, "s", 1)))
	f.Add([]byte(`{"t":"bye","retryMs":-5}` + "\n" + `{"t":"compacted"}` + "\n" + `{"t":"what"}` + "\nnull\n[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := store.Revision(-1)
		for _, v := range stream.Fold(bytes.Split(b, []byte{'\n'})) {
			require.Greater(t, v.Rev, last, "readers never go back")
			last = v.Rev
		}
	})
}

func FuzzETag(f *testing.F) {
	for _, s := range []string{`W/"a.1.5.ff"`, `"x"`, `W/"`, `W/"..."`, `W/"a.-1.f"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, ok := stream.ETagRoundTrip(s)
		if !ok {
			return
		}
		again, ok := stream.ETagRoundTrip(once)
		require.True(t, ok)
		require.Equal(t, once, again)
	})
}
