package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Part of a list would kill healthy members: what cannot be read is an error.
func TestListIsWholeOrAnError(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   string
	}{
		{"a folder without a request", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "m2"), 0o700))
		}, "move it away"},
		{"a damaged request", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "m2"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "m2", "spec.json"), []byte("{"), 0o600))
		}, "damaged"},
		{"a request that is a folder", func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "m2", "spec.json"), 0o700))
		}, "is a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			_, err := d.Launch(t.Context(), spec("m1", "idle"))
			require.NoError(t, err)
			instances := filepath.Join(dir, "instances")
			test.damage(t, instances)
			defer func() { require.NoError(t, os.RemoveAll(filepath.Join(instances, "m2"))) }()
			all, err := d.List(t.Context(), owner)
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "m2")
			require.Nil(t, all)
		})
	}
}
