package stream_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/stream"
)

func seed(t *testing.T) uint64 {
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("STRATOS_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("STRATOS_TEST_SEED=%d", n)
	return n
}

func TestEveryConsumerConvergesOverAMangledStream(t *testing.T) {
	r, err := stream.Run(t.Context(), stream.Options{Seed: seed(t), Changes: 400, Consumers: 12, Sync: 300 * time.Millisecond})
	require.NoError(t, err)
	require.Positive(t, r.Mangled)
	require.Positive(t, r.Lost)
	t.Logf("%+v", r)
}

// TestWithoutDigestsConsumersStayWrong is the control: consumers that never
// see a digest do not learn of what was lost at the end.
func TestWithoutDigestsConsumersStayWrong(t *testing.T) {
	_, err := stream.Run(t.Context(), stream.Options{Seed: seed(t), Changes: 100, Consumers: 80, Mangle: 1,
		Sync: 100 * time.Millisecond, Deadline: 3 * time.Second, HideSyncs: true})
	require.ErrorContains(t, err, "does not have what the control plane has")
	require.NotContains(t, err.Error(), "before anything was lost")
}
