package agent_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func newKey(t *testing.T) ed25519.PublicKey {
	key, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

// evilTar has a link that leads out of the release.
func evilTar(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "passwd", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", Mode: 0o777}))
	require.NoError(t, w.Close())
	return b.Bytes()
}

// killApp kills a process.
func killApp(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(n, syscall.SIGKILL))
}

// syncBuffer is a log in memory.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// forget makes the control plane ready for another agent of the member.
func (c *controlPlane) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key, c.statuses, c.logs, c.logNext = nil, nil, nil, 0
}
