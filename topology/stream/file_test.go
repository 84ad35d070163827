package stream_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// run runs a client until the test or the returned function ends it.
func run(t *testing.T, c *stream.Client) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

// nobody is the address of a control plane that is away.
const nobody = "http://127.0.0.1:1"

func TestTheLastTopologyIsServedWhileTheControlPlaneIsAway(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	rev := b.commit(put(t, topology.ClusterKey("a"), topology.Cluster{ID: "a", Min: 7}),
		put(t, topology.MemberKey("a", "m"), topology.Member{ID: "m", State: topology.Active}))
	file := filepath.Join(t.TempDir(), "topology")
	c := &stream.Client{URLs: []string{b.web.URL}, File: file}
	stop := run(t, c)
	b.same(c, rev, stream.Scope{})
	stop() // writes the file
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	alone := &stream.Client{URLs: []string{nobody}, File: file}
	run(t, alone)
	b.same(alone, rev, stream.Scope{})

	t.Run("and it goes on from there", func(t *testing.T) {
		rev := b.commit(put(t, topology.ClusterKey("b"), topology.Cluster{ID: "b"}))
		again := &stream.Client{URLs: []string{b.web.URL}, File: file}
		run(t, again)
		b.same(again, rev, stream.Scope{})
	})
	t.Run("but not for another scope", func(t *testing.T) {
		other := &stream.Client{URLs: []string{nobody}, File: file, Scope: stream.ClusterScope("a")}
		run(t, other)
		nothing(t, other)
	})
	t.Run("and not when it is damaged", func(t *testing.T) {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, broken := range [][]byte{nil, []byte("x"), content[:len(content)-5], bytes.Replace(content, []byte(`"min":7`), []byte(`"min":8`), 1)} {
			require.NoError(t, os.WriteFile(file, broken, 0o600))
			c := &stream.Client{URLs: []string{nobody}, File: file}
			stop := run(t, c)
			nothing(t, c)
			stop()
			c = &stream.Client{URLs: []string{b.web.URL}, File: file}
			stop = run(t, c)
			_, err := c.Next(b.ctx, 0)
			require.NoError(t, err, "the control plane is there: a bad file is no harm")
			stop()
		}
	})
}

// nothing sees that a client has no topology to show after its first attempts.
func nothing(t *testing.T, c *stream.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Next(ctx, 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAFileOfAnotherPlatformYieldsToTheControlPlane(t *testing.T) {
	b := newBed(t, &stream.Server{Coalesce: time.Millisecond})
	b.commit(put(t, topology.ClusterKey("here"), topology.Cluster{ID: "here"}))
	foreign := view(t, members(20, topology.Active, nil))
	foreign.Rev = 1 << 40
	content, err := stream.FormatFile(foreign, stream.Scope{}, "elsewhere.9")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "topology")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	c := &stream.Client{URLs: []string{b.web.URL}, File: file, Retry: 10 * time.Millisecond}
	run(t, c)
	v, err := c.Next(b.ctx, foreign.Rev)
	require.NoError(t, err, "whoever waits for what comes after the file's revision gets it")
	require.NotNil(t, v.Cluster("here"))
	require.Nil(t, v.Cluster("c"))
}

func FuzzParseFile(f *testing.F) {
	good, err := stream.FormatFile(view(f, members(3, topology.Active, nil)), stream.Scope{}, "s.1")
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"v":1,"scope":"all","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := stream.ParseFile(b, stream.Scope{})
		require.True(t, err != nil || n >= 0)
	})
}

func TestFileRoundTrip(t *testing.T) {
	v := view(t, members(300, topology.Active, nil))
	b, err := stream.FormatFile(v, stream.ClusterScope("c"), "s.1")
	require.NoError(t, err)
	n, err := stream.ParseFile(b, stream.ClusterScope("c"))
	require.NoError(t, err)
	require.Equal(t, v.Digest().N(), n)
}
