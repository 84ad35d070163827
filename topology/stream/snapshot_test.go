package stream_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// get asks for a path without decompressing the answer.
func (b *bed) get(path string, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.web.URL+path, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}).Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp, string(body)
}

func TestSnapshotIsOneDocument(t *testing.T) {
	b := newBed(t, &stream.Server{})
	rev := b.commit(
		put(t, topology.ClusterKey("default.a"), topology.Cluster{ID: "default.a", Tenant: "default"}),
		put(t, topology.MemberKey("default.a", "m"), topology.Member{ID: "m", State: topology.Active, JoinHash: []byte("secret")}),
		put(t, topology.ClusterKey("x.b"), topology.Cluster{ID: "x.b", Tenant: "x"}))
	_, err := b.mirror.Next(b.ctx, rev-1)
	require.NoError(t, err)
	_, body := b.get(stream.SnapshotPath + "?scope=tenant=default")
	var got struct {
		Rev      store.Revision
		Clusters []struct {
			ID      string
			Members []topology.Member
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, rev, got.Rev)
	require.Len(t, got.Clusters, 1)
	require.Equal(t, "default.a", got.Clusters[0].ID)
	require.Equal(t, []topology.Member{{ID: "m", State: topology.Active}}, got.Clusters[0].Members)
}

func TestSnapshotIsNotSentTwice(t *testing.T) {
	b := newBed(t, &stream.Server{})
	rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a"}))
	_, err := b.mirror.Next(b.ctx, rev-1)
	require.NoError(t, err)
	const own = stream.SnapshotPath + "?scope=cluster=a"
	resp, plain := b.get(own)
	tag := resp.Header.Get("ETag")
	require.True(t, strings.HasPrefix(tag, `W/"test.1.`), tag)

	resp, body := b.get(own, "If-None-Match", tag)
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
	require.Empty(t, body)

	rev = b.commit(put(t, topology.ClusterKey("other"), topology.Cluster{ID: "other"}))
	_, err = b.mirror.Next(b.ctx, rev-1)
	require.NoError(t, err)
	resp, _ = b.get(own, "If-None-Match", `"x", `+tag)
	require.Equal(t, http.StatusNotModified, resp.StatusCode, "a new revision, but nothing new in the scope")
	require.NotEqual(t, tag, resp.Header.Get("ETag"), "the revision is told all the same")
	resp, _ = b.get(own, "If-None-Match", strings.Replace(tag, "test.1.", "test.2.", 1))
	require.Equal(t, http.StatusOK, resp.StatusCode, "another generation of the store")

	rev = b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Min: 1}))
	_, err = b.mirror.Next(b.ctx, rev-1)
	require.NoError(t, err)
	resp, fresh := b.get(own, "If-None-Match", tag)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NotEqual(t, plain, fresh)

	resp, packed := b.get(own, "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	z, err := gzip.NewReader(strings.NewReader(packed))
	require.NoError(t, err)
	unpacked, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, fresh, string(unpacked))
	resp, _ = b.get(own, "Accept-Encoding", "gzip;q=0")
	require.Empty(t, resp.Header.Get("Content-Encoding"))
}

// still is a source that hands out one view.
type still struct{ view *topology.View }

func (s still) Next(context.Context, store.Revision) (*topology.View, error) { return s.view, nil }

func TestSnapshotIsEncodedOnceForAll(t *testing.T) {
	server := &stream.Server{Source: still{view(t, members(2000, topology.Active, nil))}, Store: "s.1"}
	const readers = 1000
	bodies := make(chan *byte, readers)
	var g errgroup.Group
	for range readers {
		g.Go(func() error {
			body, err := server.AllLines(t.Context())
			if err == nil {
				bodies <- &body[0]
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	first := <-bodies
	for range readers - 1 {
		require.Same(t, first, <-bodies, "they share one encoding")
	}
}

func TestManyReadersOfASnapshot(t *testing.T) {
	b := newBed(t, &stream.Server{})
	rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a"}))
	_, err := b.mirror.Next(b.ctx, rev-1)
	require.NoError(t, err)
	_, want := b.get(stream.SnapshotPath)
	var g errgroup.Group
	for range 20 {
		g.Go(func() error {
			_, got := b.get(stream.SnapshotPath)
			require.Equal(t, want, got)
			return nil
		})
	}
	require.NoError(t, g.Wait())
}
