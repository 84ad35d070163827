package partition_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/partition"
)

// TestPartition cuts the leader off for a minute, and kills the whole control
// plane for another: nobody who asks for a page notices.
func TestPartition(t *testing.T) {
	res, err := partition.Run(t.Context(), partition.Options{Dir: t.TempDir(), Log: t.Output()})
	require.NoError(t, err)
	t.Logf("another leader after %v (lease %v); %d requests", res.NewLeader, res.LeaseTTL, res.Requests)
	require.Empty(t, res.Failed, "requests failed")
	require.Zero(t, res.Killed, "members were killed")
	require.Zero(t, res.Relaunched, "members were launched twice")
	require.True(t, res.Returned)
	require.Positive(t, res.Requests)
}
