package s3_test

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms/s3server"
)

// TestLargeBlobsStream measures the heap while 200 MB go there and back.
func TestLargeBlobsStream(t *testing.T) {
	const size, most = 200 << 20, 64 << 20
	s := s3server.Start(t, s3server.Options{})
	b := in(s)
	b.Dir = t.TempDir()
	seen := &heap{Reader: io.LimitReader(rand.NewChaCha8([32]byte{1}), size)}
	d, err := b.Put(t.Context(), seen)
	require.NoError(t, err)
	r, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	seen.Reader = r
	n, err := io.Copy(io.Discard, seen)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.EqualValues(t, size, n)
	require.Less(t, seen.peak, uint64(most))
	t.Logf("heap in use: %d KiB at most", seen.peak>>10)
}

// heap looks at the heap every now and then while it is read.
type heap struct {
	io.Reader
	reads int
	peak  uint64 // bytes
}

func (h *heap) Read(p []byte) (int, error) {
	const every = 64
	if h.reads++; h.reads%every == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		h.peak = max(h.peak, m.HeapInuse)
	}
	return h.Reader.Read(p)
}
