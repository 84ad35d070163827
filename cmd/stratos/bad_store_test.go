package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServeWithADamagedStore: what cannot be opened is named, with the cure, and
// nothing is changed.
func TestServeWithADamagedStore(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	db := filepath.Join(data, "stratos.db")
	damaged := []byte(strings.Repeat("this is no store ", 4096))
	require.NoError(t, os.WriteFile(db, damaged, 0o600))
	file := filepath.Join(dir, "stratos.yaml")
	require.NoError(t, os.WriteFile(file, []byte("dir: "+data+"\n"), 0o600))
	var out, errs strings.Builder
	require.Equal(t, 1, run(t.Context(), []string{"serve", "--config", file}, &out, &errs))
	require.Contains(t, errs.String(), db)
	require.Contains(t, errs.String(), "stratos store restore")
	now, err := os.ReadFile(db)
	require.NoError(t, err)
	require.Equal(t, damaged, now)
}
