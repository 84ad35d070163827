package local_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/cloudtest"
	"github.com/gostratos/stratos/cloud/local"
)

// The driver keeps what all drivers promise, with real processes.
func TestDriverKeepsItsPromises(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cloud")
	cloudtest.Run(t, cloudtest.Harness{
		Open: func(t testing.TB) cloud.Driver {
			d := &local.Driver{}
			require.NoError(t, d.Open(t.Context(), dir))
			return d
		},
		Kill: func(t testing.TB, id cloud.InstanceID) { kill(t, agentPID(t, dir, string(id))) },
	})
	require.Empty(t, names(t, filepath.Join(dir, "instances")))
	require.Empty(t, agents(t, dir))
}
