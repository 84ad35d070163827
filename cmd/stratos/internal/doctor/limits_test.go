package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpace(t *testing.T) {
	for _, c := range []struct {
		name string
		free uint64
		want Status
	}{
		{"none", 0, Fail},
		{"almost none", 100<<20 - 1, Fail},
		{"little", 100 << 20, Warn},
		{"almost enough", 1<<30 - 1, Warn},
		{"enough", 1 << 30, OK},
	} {
		f := space(c.free)
		require.Equal(t, c.want, f.Status, c.name)
		require.Equal(t, c.want == OK, f.Cure == "", c.name)
	}
}

func TestFiles(t *testing.T) {
	require.Equal(t, Warn, filesOf(1024).Status)
	require.Equal(t, OK, filesOf(4096).Status)
}

func TestIsolation(t *testing.T) {
	for _, uid := range []int{0, 1000} {
		f := isolation(uid)
		require.Equal(t, Warn, f.Status)
		require.Contains(t, f.Detail, "as the control plane")
		require.Contains(t, f.Cure, "code that you trust")
	}
	require.Contains(t, isolation(0).Detail, "you are root")
	require.NotContains(t, isolation(1000).Detail, "root")
}
