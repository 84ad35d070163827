package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
)

func TestLogsCommand(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q}", dir, api), 0o600))
	logs := filepath.Join(dir, "logs", "default.shop")
	require.NoError(t, os.MkdirAll(logs, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(logs, "abcdefgh.log"), []byte(
		`{"member":"abcdefgh","n":0,"at":"2026-11-24T03:57:07Z","source":"web","text":"listening"}
{"member":"abcdefgh","n":1,"at":"2026-11-24T03:57:08.5Z","source":"web","text":"[error] no"}
`), 0o600))
	s := startServe(t, "-c", file)
	do := func(args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append([]string{"logs", "--control", "http://" + api, "--token-file", filepath.Join(dir, "admin.token")}, args...)...)
	}
	require.Eventually(t, func() bool {
		code, _, _ := do("shop")
		return code == 0
	}, wait, look, "%s", s.log)
	_, out, errs := do("shop")
	require.Empty(t, errs)
	require.Equal(t, "2026-11-24T03:57:07.000Z abcdef web info  listening\n2026-11-24T03:57:08.500Z abcdef web error [error] no\n", out)
	_, out, _ = do("shop", "--level", "warn", "--since", "2026-11-24T03:57:08Z")
	require.Equal(t, "2026-11-24T03:57:08.500Z abcdef web error [error] no\n", out)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"shop", "--since", "noon"}, `--since "noon" is no time: write one like`},
		{[]string{"shop", "--level", "loud"}, "want debug, info, warn or error"},
		{[]string{"shop", "-n", "0"}, "--lines 0: want 1 or more"},
		{[]string{}, "the alias of a subscription"},
	} {
		code, _, errs := do(c.args...)
		require.Equal(t, 1, code, c.args)
		require.Contains(t, errs, c.want)
	}
	require.Zero(t, s.stop(t), s.log)
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	at, err := moment("since", "90m", now)
	require.NoError(t, err)
	require.Equal(t, now.Add(-90*time.Minute), at)
	at, err = moment("since", "2026-11-24T13:00:00+02:00", now)
	require.NoError(t, err)
	require.True(t, at.Equal(now.Add(-time.Hour)))
	at, err = moment("since", "", now)
	require.NoError(t, err)
	require.True(t, at.IsZero())
}

func TestWriteLine(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, writeLine(&b, client.LogLine{Member: "m", Level: "warn", Source: "web", Text: "x", At: time.Unix(0, 0)}))
	require.Equal(t, "1970-01-01T00:00:00.000Z m web warn  x\n", b.String())
}
