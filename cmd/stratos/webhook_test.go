package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRepositoryCommands asks a control plane for what it does not have; what
// it does have is in the platform's own tests.
func TestRepositoryCommands(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q}", dir, api), 0o600))
	s := startServe(t, "-c", file)
	do := func(args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append(args, "--control", "http://"+api, "--token-file", filepath.Join(dir, "admin.token"))...)
	}
	require.Eventually(t, func() bool {
		code, _, _ := do("token", "list")
		return code == 0
	}, wait, look, "%s", s.log)
	for _, args := range [][]string{{"webhook", "show", "shop"}, {"webhook", "renew", "shop"}, {"repository", "show", "shop"}, {"repository", "renew", "shop"}, {"switch", "shop", "main"}, {"synchronise", "shop"}} {
		code, out, errs := do(args...)
		require.Equal(t, 1, code, args)
		require.Empty(t, out)
		require.Contains(t, errs, `tenant default has no subscription "shop"`)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("hunter2\n"), 0o600))
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for says, args := range map[string][]string{
		`tenant default has no subscription "shop"`: {"put", "shop", "--password-file", secret, "--user", "me"},
		"give --password-file FILE for":             {"put", "shop"},
		"or --key-file FILE":                        {"put", "shop", "--password-file", secret, "--key-file", secret},
		"is empty":                                  {"put", "shop", "--password-file", empty},
		"no such file":                              {"put", "shop", "--key-file", secret + "x"},
		"the ALIAS of a subscription":               {"remove"},
		`no subscription "shop"`:                    {"remove", "shop"},
	} {
		code, out, errs := do(append([]string{"credentials"}, args...)...)
		require.NotZero(t, code, args)
		require.Empty(t, out)
		require.Contains(t, errs, says)
		require.NotContains(t, errs, "hunter2")
	}
	code, _, errs := do("switch", "shop")
	require.NotZero(t, code)
	require.Contains(t, errs, "say which subscription, and the branch, tag or commit")
	code, out, _ := stratosCommand(t.Context(), "webhook")
	require.Zero(t, code)
	require.Contains(t, out, "renew")
	require.Zero(t, s.stop(t), s.log)
}
