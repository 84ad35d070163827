package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTokenCommands makes, lists and ends tokens of a control plane that runs.
func TestTokenCommands(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q}", dir, api), 0o600))
	s := startServe(t, "-c", file)
	own := filepath.Join(dir, "admin.token")
	as := func(token string, args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append(append([]string{"token"}, args...), "-control", "http://"+api, "-token-file", token)...)
	}
	var secrets []string
	require.Eventually(t, func() bool {
		code, out, _ := as(own, "admin", "ann")
		secrets = append(secrets, strings.TrimSpace(out))
		return code == 0
	}, wait, look, "%s", s.log)
	ann := tokenFile(t, secrets[len(secrets)-1])
	_, out, errs := as(own, "balancer", "edge")
	require.Empty(t, errs)
	edge := tokenFile(t, strings.TrimSpace(out))
	secrets = append(secrets, strings.TrimSpace(out))

	code, out, errs := as(ann, "list")
	require.Zero(t, code, errs)
	require.Regexp(t, `^ID {32}KIND      NAME   MADE
[0-9a-f]{32}  admin     admin  \S+Z
[0-9a-f]{32}  admin     ann    \S+Z  \(in use by this command\)
[0-9a-f]{32}  balancer  edge   \S+Z
$`, out)
	for _, secret := range secrets {
		require.False(t, secret != "" && strings.Contains(out, secret), "a secret is listed")
	}
	ids := regexp.MustCompile(`(?m)^[0-9a-f]{32}`).FindAllString(out, -1)

	for _, c := range []struct {
		name, token string
		args        []string
		want        string
	}{
		{"which", ann, []string{"end"}, "give one argument, the ID of a token"},
		{"no id", ann, []string{"end", "edge"}, `want 32 digits of 0-9 and a-f, as in the list of tokens; "stratos token list" shows it`},
		{"a secret", ann, []string{"end", secrets[len(secrets)-1]}, "the id of a token is invalid"},
		{"none", ann, []string{"end", strings.Repeat("0", 32)}, "there is no token " + strings.Repeat("0", 32) + ", or it has ended"},
		{"its own", ann, []string{"end", ids[1]}, "which this command bears: end it with another administrator's token"},
		{"by a balancer", edge, []string{"end", ids[1]}, "this takes an administrator's"},
		{"the list, by a balancer", edge, []string{"list"}, "this takes an administrator's"},
		{"the name of serve's own", ann, []string{"admin", "admin"}, "choose another name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := as(c.token, c.args...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.NotContains(t, out+errs, secrets[len(secrets)-1])
		})
	}

	code, out, errs = as(ann, "end", ids[2])
	require.Zero(t, code, errs)
	require.Equal(t, "token "+ids[2]+", balancer edge, has ended\n", out)
	_, _, errs = as(edge, "list")
	require.Contains(t, errs, "or one that was ended")
	code, out, errs = as(ann, "end", ids[0])
	require.Zero(t, code, errs)
	require.Contains(t, out, "admin admin, has ended\na serve made it: delete admin.token in its data folder, too")
	_, _, errs = as(own, "list")
	require.Contains(t, errs, "or one that was ended")
	require.Zero(t, s.stop(t), s.log)
}

func TestTokenHelp(t *testing.T) {
	for _, args := range [][]string{{"token"}, {"token", "list"}, {"token", "end"}, {"store", "backup"}} {
		code, out, errs := stratosCommand(t.Context(), append(args, "--help")...)
		require.Zero(t, code, errs)
		require.Contains(t, out, "Examples:\n  ", "%v", args)
		require.Contains(t, out, "stratos "+strings.Join(args, " "), "%v", args)
	}
}
