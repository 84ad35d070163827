package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const pagesYAML = `name: pages
description: the pages of a folder
version: "1"
plan:
  programs: [{names: [python3]}]
  ports: [{name: http}]
  processes:
  - {name: web, args: [python3, -m, http.server, '{{port "http"}}']}
  health: {path: /}
`

// TestCartridgeCommands checks, adds, lists and withdraws a cartridge of a
// control plane that runs.
func TestCartridgeCommands(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q, cartridges: [php]}", dir, api), 0o600))
	s := startServe(t, "-c", file)
	do := func(args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append(append([]string{"cartridge"}, args...), "--control", "http://"+api, "--token-file", filepath.Join(dir, "admin.token"))...)
	}
	good := filepath.Join(t.TempDir(), "pages.yaml")
	require.NoError(t, os.WriteFile(good, []byte(pagesYAML), 0o600))
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte(pagesYAML+"colour: red\nsettings: {a: 1}\n"), 0o600))
	require.Eventually(t, func() bool {
		code, _, _ := do("list")
		return code == 0
	}, wait, look, "%s", s.log)

	code, out, errs := stratosCommand(t.Context(), "cartridge", "check", good)
	require.Zero(t, code, errs)
	require.Equal(t, good+": cartridge pages is good\n", out)
	for _, args := range [][]string{{"check", bad}, {"put", bad, "--control", "http://" + api}} {
		code, _, errs = stratosCommand(t.Context(), append([]string{"cartridge"}, args...)...)
		require.Equal(t, 1, code)
		require.Contains(t, errs, "stratos: "+bad+" is not good:\nstratos: line 10, column 1: colour: no such field")
		require.Contains(t, errs, "\nstratos: line 11, column ", "each on its line")
	}
	code, out, errs = do("put", good)
	require.Zero(t, code, errs)
	require.Equal(t, "cartridge pages can be subscribed to\n", out)
	code, _, errs = do("put", good, "--tenant", "nobody")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "tenant nobody")
	code, _, errs = do("put", good, "--tenant", "default")
	require.Zero(t, code, errs)
	code, out, errs = do("list")
	require.Zero(t, code, errs)
	require.Equal(t, "NAME   FOR                  VERSION  DESCRIPTION\npages  everyone             1        the pages of a folder\nphp    everyone (built in)           \n", out)
	_, out, _ = do("list", "--tenant", "default")
	require.Contains(t, out, "pages  tenant default       1        the pages of a folder\n")
	code, out, errs = do("withdraw", "pages", "--tenant", "default")
	require.Zero(t, code, errs)
	require.Equal(t, "cartridge pages is withdrawn\n", out)
	code, _, errs = do("withdraw", "php")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "the flavour's program is made of it")
	code, _, errs = do("withdraw", "ruby")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `there is no cartridge "ruby" here`)
	require.Zero(t, s.stop(t), s.log)
}
