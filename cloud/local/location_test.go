package local_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud/local"
)

func TestLocationIsTheFolder(t *testing.T) {
	dir := t.TempDir()
	at := make([]string, 4)
	var all sync.WaitGroup
	for i := range at {
		all.Go(func() {
			d := &local.Driver{}
			if err := d.Open(t.Context(), dir); err != nil {
				t.Error(err)
				return
			}
			var err error
			if at[i], err = d.Location(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, other := range at {
		require.Equal(t, at[0], other)
	}
	other := &local.Driver{}
	require.NoError(t, other.Open(t.Context(), t.TempDir()))
	elsewhere, err := other.Location()
	require.NoError(t, err)
	require.NotEqual(t, at[0], elsewhere)
	_, err = (&local.Driver{}).Location()
	require.Error(t, err, "it is not open")
}
