package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServiceCommands backs a real database up, and brings it back.
func TestServiceCommands(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
name: test
dir: %q
listen: %q
api: %q
cartridges: [mysql, proc]
subscriptions:
- {alias: db, cartridge: mysql}
- {alias: shop, cartridge: proc}
`, dir, freeAddress(t), api), 0o600))
	s := startServe(t, "-c", file, "--shutdown")
	do := func(args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append(args, "--control", "http://"+api, "--token-file", filepath.Join(dir, "admin.token"))...)
	}
	must := func(args ...string) string {
		t.Helper()
		code, out, errs := do(args...)
		require.Zero(t, code, "%s%s", errs, s.log)
		return out
	}
	var id string
	require.Eventually(t, func() bool {
		code, out, _ := do("service", "backup", "db")
		id, _, _ = strings.Cut(out, " ")
		return code == 0
	}, wait, look, "%s", s.log)
	list := must("service", "list", "db")
	require.Regexp(t, id+` +backup +done +[1-9]`, list)
	copied := filepath.Join(t.TempDir(), "db.sql")
	must("service", "download", "db", id, "-o", copied)
	text, err := os.ReadFile(copied)
	require.NoError(t, err)
	require.Contains(t, string(text), "there is no database")
	info, err := os.Stat(copied)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Contains(t, must("service", "restore", "db", id), "as it was in "+id)
	require.Contains(t, must("connect", "shop", "db"), "shop is connected to db")
	require.Contains(t, must("disconnect", "shop", "db"), "not connected")
	require.Contains(t, must("repository", "show", "shop"), "/git/default/shop.git")
	must("service", "remove", "db", id)
	for says, args := range map[string][]string{
		"no such record":            {"service", "restore", "db", id},
		"file exists":               {"service", "download", "db", id, "-o", copied},
		"-o FILE":                   {"service", "download", "db", id},
		"it has no service":         {"service", "backup", "shop"},
		"that of the PROVIDER":      {"connect", "shop"},
		"the name of a BACKUP":      {"service", "restore", "db"},
		"has no subscription \"x\"": {"connect", "x", "db"},
	} {
		code, _, errs := do(args...)
		require.NotZero(t, code, args)
		require.Contains(t, errs, says, args)
	}
	require.Zero(t, s.stop(t), s.log)
}
