package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tokenFile is a file that holds a secret.
func tokenFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return path
}

func TestHoldsAreListed(t *testing.T) {
	for _, c := range []struct{ name, answer, want string }{
		{"nothing", `{"replacements": [], "orphans": [], "refusals": []}`, "nothing waits for an operator\n"},
		{"some of all", `{"replacements": ["m1", "m2"], "orphans": [{"account": "here", "instance": "i-1", "name": "shop-1", "launched": "2026-11-01T02:03:04Z"}],
			"refusals": [{"from": "Active", "to": "Created", "count": 3}]}`,
			"replacements  member m1\nreplacements  member m2\norphans  account here  instance i-1  name shop-1  launched 2026-11-01T02:03:04Z\nrefused  from Active to Created  3 times\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method+" "+r.URL.Path != "GET /v1/holds" || r.Header.Get("Authorization") != "Bearer secret" {
					http.Error(w, "what?", http.StatusBadRequest)
					return
				}
				_, _ = io.WriteString(w, c.answer) // the client says what it misses
			}))
			defer server.Close()
			code, out, errs := stratosCommand(t.Context(), "holds", "--control", server.URL, "--token-file", tokenFile(t, "secret"))
			require.Zero(t, code, errs)
			require.Equal(t, c.want, out)
		})
	}
}

// TestOperator asks a control plane that runs, rightly and wrongly.
func TestOperator(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	path := filepath.Join(t.TempDir(), "stratos.yaml")
	text := fmt.Sprintf("{name: test, dir: %q, listen: none, api: %q}", dir, api)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s := startServe(t, "-c", path)
	admin, at := filepath.Join(dir, "admin.token"), "http://"+api
	ask := func(args ...string) (int, string, string) { return stratosCommand(t.Context(), args...) }
	require.Eventually(t, func() bool {
		code, _, _ := ask("holds", "--control", at, "--token-file", admin)
		return code == 0
	}, wait, look, "%s", s.log)

	_, out, errs := ask("holds", "-control", at, "-token-file", admin)
	require.True(t, strings.HasPrefix(out, "nothing waits for an operator\n"), out+errs)
	for _, kind := range []string{"replacements", "orphans"} {
		code, out, errs := ask("holds", "release", kind, "--control", at, "--token-file", admin)
		require.Zero(t, code, errs)
		require.Contains(t, out, kind+" may go on, for ten minutes")
	}
	code, secret, errs := ask("token", "balancer", "edge", "--control", at, "--token-file", admin)
	require.Zero(t, code, errs)
	edge := tokenFile(t, strings.TrimSpace(secret))

	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no control plane", []string{"holds"}, "no control plane: give --control URL"},
		{"no token", []string{"holds", "--control", at}, "no token: give --token-file FILE"},
		{"no such token file", []string{"holds", "--control", at, "--token-file", "none"}, "--token-file: open none: no such file or directory"},
		{"empty token file", []string{"holds", "--control", at, "--token-file", tokenFile(t, "")}, "is empty"},
		{"not a token", []string{"holds", "--control", at, "--token-file", tokenFile(t, "two words")}, "holds no token: a token is one word"},
		{"wrong token", []string{"holds", "--control", at, "--token-file", tokenFile(t, "hunter2")}, "holds no token of this control plane, or one that was ended"},
		{"token of another kind", []string{"holds", "--control", at, "--token-file", edge}, "this takes an administrator's"},
		{"https to a plain port", []string{"holds", "--control", "https://" + api, "--token-file", admin}, "it speaks plain http: write http:// in --control"},
		{"no URL", []string{"holds", "--control", api, "--token-file", admin}, "is no address of a control plane: write one like https://"},
		{"plain off loopback", []string{"holds", "--control", "http://10.0.0.1:8080", "--token-file", admin}, "off loopback a control plane speaks https"},
		{"secret in the URL", []string{"holds", "--control", "http://u:hunter2@" + api, "--token-file", admin}, "an address has no credentials"},
		{"nobody there", []string{"holds", "--control", "http://127.0.0.1:1", "--token-file", admin}, "is serve running, and is --control where it answers"},
		{"no CA file", []string{"holds", "--control", at, "--token-file", admin, "--ca", "none"}, "--ca: open none: "},
		{"no CA", []string{"holds", "--control", at, "--token-file", admin, "--ca", path}, "there is no certificate in PEM"},
		{"release what", []string{"holds", "release"}, "say what to release: replacements or orphans"},
		{"release something else", []string{"holds", "release", "all"}, "say what to release: replacements or orphans"},
		{"token of what kind", []string{"token", "root", "me"}, "say which kind of token, admin or balancer"},
		{"token without a name", []string{"token", "admin"}, "say which kind of token, admin or balancer, and whose"},
		{"token by who may not", []string{"token", "admin", "me", "--control", at, "--token-file", edge}, "this takes an administrator's"},
		{"balancer without a token", []string{"balancer", "--control", at}, "no token: give --token-file FILE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := ask(c.args...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.True(t, strings.HasPrefix(errs, "stratos: "), errs)
			require.NotContains(t, out+errs, "hunter2")
		})
	}
	require.Zero(t, s.stop(t), s.log)
}

// TestTLSControl: what is wrong with certificates is said with its cure.
func TestTLSControl(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	token := tokenFile(t, "secret")
	code, _, errs := stratosCommand(t.Context(), "holds", "--control", server.URL, "--token-file", token)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "give --ca FILE: ca.pem in the control plane's data folder")

	code, _, errs = stratosCommand(t.Context(), "holds", "--control", strings.Replace(server.URL, "https:", "http:", 1), "--token-file", token)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "it speaks https: write https:// in --control, and --ca FILE")
}
