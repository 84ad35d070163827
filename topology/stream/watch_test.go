package stream_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// sent is a frame as it is on the wire.
type sent struct {
	T          string
	After, Rev store.Revision
	Store      string
	Changes    []struct{ Key string }
	More       bool
	Digest     string
	N          int
}

// reader reads the frames of one stream.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (b *bed) watch(query string, header ...string) *reader {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.web.URL+stream.WatchPath+"?"+query, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(b.t, http.StatusOK, resp.StatusCode)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &reader{b.t, lines}
}

func (r *reader) next() (f sent) {
	r.t.Helper()
	require.True(r.t, r.lines.Scan(), "the stream goes on: %v", r.lines.Err())
	require.NoError(r.t, json.Unmarshal(r.lines.Bytes(), &f))
	return f
}

// until reads to a frame of a kind, and returns it.
func (r *reader) until(kind string) sent {
	r.t.Helper()
	for {
		if f := r.next(); f.T == kind {
			return f
		}
	}
}

func (b *bed) seen(rev store.Revision) *topology.View {
	b.t.Helper()
	v, err := b.mirror.Next(b.ctx, rev-1)
	require.NoError(b.t, err)
	return v
}

func (b *bed) cluster(id topology.ClusterID, min int) store.Revision {
	b.t.Helper()
	return b.commit(put(b.t, topology.ClusterKey(id), topology.Cluster{ID: id, Tenant: "t", Service: "php", Min: min}))
}

func TestWatchBeginsWithASnapshotAndItsDigest(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	rev := b.cluster("a", 1)
	b.seen(rev)
	r := b.watch("scope=tenant=t")
	f := r.next()
	require.Equal(t, "snap", f.T)
	require.Equal(t, "test.1", f.Store)
	require.Equal(t, 1, f.N)
	s := r.next()
	require.Equal(t, sent{T: "sync", Rev: rev, Digest: f.Digest, N: 1}, s)
	b.cluster("b", 1)
	f = r.next()
	require.Equal(t, "ev", f.T)
	require.Equal(t, "clusters/b", f.Changes[0].Key)
}

func TestWatchGoesOnAfterARevision(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	b.cluster("a", 0)
	all := b.watch("") // somebody is there: the ring begins
	one := all.until("sync").Rev
	two := b.cluster("a", 2)
	require.Equal(t, two, all.until("ev").Rev)
	three := b.cluster("b", 3)
	require.Equal(t, three, all.until("ev").Rev)
	b.seen(three)
	for _, c := range []struct {
		name, query string
		kinds       []string
	}{
		{"everything since", fmt.Sprintf("after=%d&store=test.1", one), []string{"ev", "ev", "sync"}},
		{"the last", fmt.Sprintf("after=%d", two), []string{"ev", "sync"}},
		{"nothing", fmt.Sprintf("after=%d&store=test.1", three), []string{"sync"}},
		{"another generation's revision", fmt.Sprintf("after=%d&store=test.0", three), []string{"snap", "sync"}},
		{"one cluster that did not change since", fmt.Sprintf("scope=cluster=a&after=%d", two), []string{"sync"}},
		{"one cluster that did", fmt.Sprintf("scope=cluster=a&after=%d", one), []string{"compacted"}},
		{"one that is gone or never was", "scope=cluster=x&after=1", []string{"compacted"}},
		{"a new feed", fmt.Sprintf("scope=tenant=t&after=%d", two), []string{"compacted"}},
		{"the future", "after=1000000", []string{"compacted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.watch(c.query)
			r.t = t
			for _, kind := range c.kinds {
				require.Equal(t, kind, r.next().T)
			}
		})
	}
	resp, _ := b.get(stream.WatchPath + "?after=x")
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

func TestWatchWaitsForARevisionThatIsOnItsWay(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	rev := b.cluster("a", 0)
	b.watch("scope=cluster=a").until("sync") // the feed is there
	r := make(chan *reader, 1)
	go func() { r <- b.watch(fmt.Sprintf("scope=cluster=a&after=%d", rev+1)) }()
	b.seen(b.cluster("b", 0)) // this replica catches up
	b.seen(b.cluster("a", 1))
	require.Equal(t, rev+2, (<-r).until("ev").Rev)
}

func TestAReaderBehindTheRingIsToldSo(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Microsecond})
	b.cluster("a", 0)
	r := b.watch("scope=cluster=a") // keeps the feed alive
	first := r.until("sync").Rev
	big := strings.Repeat("x", 30_000)
	for i := range 5 {
		rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Min: i, Policy: big}))
		require.Equal(t, rev, r.until("ev").Rev)
	}
	require.Equal(t, "compacted", b.watch(fmt.Sprintf("scope=cluster=a&after=%d", first)).next().T)
}

func TestAClusterThatMovesIntoAScopeComesWhole(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Tenant: "t"}),
		put(t, topology.MemberKey("a", "m"), topology.Member{ID: "m", State: topology.Active}))
	here, err := stream.ParseScope("tenant=t")
	require.NoError(t, err)
	there, err := stream.ParseScope("tenant=u")
	require.NoError(t, err)
	one, other := &stream.Client{Scope: here}, &stream.Client{Scope: there}
	b.follow(one)
	b.follow(other)
	_, err = one.Next(b.ctx, 0)
	require.NoError(t, err)
	_, err = other.Next(b.ctx, 0)
	require.NoError(t, err)
	rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Tenant: "u"}))
	b.same(one, rev, here)
	b.same(other, rev, there)
	v, err := other.Next(b.ctx, 0)
	require.NoError(t, err)
	require.Len(t, v.Cluster("a").Members(), 1)
	require.Zero(t, one.Stats().Mismatches+other.Stats().Mismatches+one.Stats().Lost+other.Stats().Lost)
}

func TestWatchForBrowsers(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	rev := b.cluster("a", 0)
	b.seen(rev)
	r := b.watch("", "Accept", "text/event-stream")
	var lines []string
	for len(lines) < 6 && r.lines.Scan() {
		lines = append(lines, r.lines.Text())
	}
	id := fmt.Sprintf("test.1.%d", rev)
	require.Equal(t, "id: "+id, lines[0])
	require.True(t, strings.HasPrefix(lines[1], `data: {"t":"snap"`), lines[1])
	require.Empty(t, lines[2])
	require.True(t, strings.HasPrefix(lines[4], `data: {"t":"sync"`), lines[4])

	again := b.watch("", "Accept", "text/event-stream", "Last-Event-ID", id)
	require.True(t, again.lines.Scan())
	require.True(t, again.lines.Scan())
	require.True(t, strings.HasPrefix(again.lines.Text(), `data: {"t":"sync"`), again.lines.Text())
}

// TestReadersThatDoNotReadSlowNobody has readers that never read, which are cut
// off, among others that get everything.
func TestReadersThatDoNotReadSlowNobody(t *testing.T) {
	server := &stream.Server{Coalesce: time.Microsecond, WriteTimeout: 200 * time.Millisecond}
	b := newBed(t, server)
	b.cluster("a", 0)
	const stalled, live = 10, 10
	for range stalled {
		conn, err := net.Dial("tcp", b.web.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", stream.WatchPath)
		require.NoError(t, err)
	}
	clients := make([]*stream.Client, live)
	for i := range clients {
		clients[i] = &stream.Client{}
		b.follow(clients[i])
		_, err := clients[i].Next(b.ctx, 0)
		require.NoError(t, err)
	}
	big := strings.Repeat("x", 60_000)
	for i := 0; i < 100 || server.Subscribers() > live; i++ {
		require.NoError(t, b.ctx.Err(), "%d streams, of which %d are read", server.Subscribers(), live)
		rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Min: i, Policy: big}))
		for _, c := range clients {
			_, err := c.Next(b.ctx, rev-1)
			require.NoError(t, err)
		}
	}
	for _, c := range clients {
		require.Zero(t, c.Stats().Lost+c.Stats().Mismatches)
		require.Equal(t, 1, c.Stats().Snapshots, "they were never cut off")
	}
}

func TestTheLastSubscriberEndsTheRelay(t *testing.T) {
	server := &stream.Server{Coalesce: time.Millisecond}
	b := newBed(t, server)
	rev := b.cluster("a", 0)
	for range 3 {
		c := &stream.Client{URLs: []string{b.web.URL}}
		stop := run(t, c)
		b.same(c, rev, stream.Scope{})
		require.Equal(t, 1, server.Subscribers())
		stop()
		for server.Subscribers() > 0 {
			require.NoError(t, b.ctx.Err())
		}
		rev = b.cluster("a", int(rev))
	}
}
