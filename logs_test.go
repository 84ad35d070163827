package stratos_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
)

// TestLogsAreSeenAndKept: what an instance prints is seen by who follows, and
// what a former release printed is still there.
func TestLogsAreSeenAndKept(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	b.subscribe(s)
	admin := adminOf(t, b.Config())
	printed := make(chan client.LogLine, 10_000)
	ctx, stop := context.WithCancel(b.ctx)
	followed := make(chan error, 1)
	go func() {
		followed <- admin.FollowLogs(ctx, tenant.Default, app, client.LogQuery{}, func(l client.LogLine) error {
			printed <- l
			return nil
		})
	}()
	awaitLine := func(text string) client.LogLine {
		t.Helper()
		for {
			select {
			case l := <-printed:
				if strings.Contains(l.Text, text) {
					return l
				}
			case <-time.After(patience):
				require.Fail(t, "it was never seen", text)
			}
		}
	}
	first := awaitLine("greeting with one")
	require.Equal(t, "web", first.Source)
	begun := time.Now()
	s.commitFile("app.py", "print('level=error ahead', flush=True)\n"+strings.Replace(appSource, "%q", "'two'", 1))
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	bad := awaitLine("level=error ahead")
	require.Equal(t, "error", bad.Level)
	awaitLine("greeting with two")

	lines, err := admin.Logs(b.ctx, tenant.Default, app, client.LogQuery{Text: "GREETING WITH"})
	require.NoError(t, err)
	require.Len(t, lines, 2, "the former release's, too")
	require.Equal(t, first, lines[0])
	lines, err = admin.Logs(b.ctx, tenant.Default, app, client.LogQuery{Since: begun, Level: "error"})
	require.NoError(t, err)
	require.Equal(t, []client.LogLine{bad}, lines)
	stop()
	if err := <-followed; err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}

	mine := errors.New("enough")
	require.ErrorIs(t, admin.FollowLogs(b.ctx, tenant.Default, app, client.LogQuery{}, func(client.LogLine) error { return mine }), mine)
	var answer *client.Error
	require.ErrorAs(t, admin.FollowLogs(b.ctx, tenant.Default, "A", client.LogQuery{}, nil), &answer)
	require.Equal(t, 400, answer.Code)
}

// TestLogsOfFiles: what a program writes into its own file is in the log, also
// when the file was rotated.
func TestLogsOfFiles(t *testing.T) {
	b := newBed(t)
	d := definition(t, `
name: writes
plan:
  programs: [{names: [python3], package: python3}]
  ports: [{name: http}]
  files:
  - path: start.sh
    content: |
      echo "level=warn written to a file" >app.log
      mv app.log app.log.1
      echo "and to the next" >app.log
      exec "$@"
  logs: [app.log]
  processes:
  - {name: web, args: [/bin/sh, "{{.Dir}}/start.sh", python3, -m, http.server, --bind, 127.0.0.1, '{{port "http"}}'], dir: "{{.Dir}}"}
  health: {path: '/'}
`)
	_, err := b.PutCartridge(b.ctx, "", d)
	require.NoError(t, err)
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: app, Cartridge: "writes"}), "it reads no release")
	admin := adminOf(t, b.Config())
	require.Eventually(t, func() bool {
		lines, err := admin.Logs(b.ctx, tenant.Default, app, client.LogQuery{Text: "and to the next"})
		return err == nil && len(lines) == 1 && lines[0].Source == "app.log"
	}, patience, 20*time.Millisecond)
}
