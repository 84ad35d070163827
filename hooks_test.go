package stratos_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

const hooked = `
name: hooked
plan:
  programs: [{names: [python3], package: python3}]
  ports: [{name: http}]
  dataDirs: [seen]
  hooks:
  - on: artifacts-updated
    run: {args: [/bin/sh, hook.sh], env: {GREETING: hello, DATA: "{{.Data}}/seen"}}
  - on: instance-activated
    run: {args: [/bin/sh, hook.sh], env: {DATA: "{{.Data}}/seen"}, timeout: 3s}
  processes: [{name: web, args: [python3, app.py]}]
  health: {kind: tcp, start: 20s}
`

// TestHooks: they run at their moments, in their environment, and what they
// print is in the log; one that fails, or does not end, keeps the release from
// being served.
func TestHooks(t *testing.T) {
	b := newBed(t)
	_, err := b.PutCartridge(b.ctx, "", definition(t, hooked))
	require.NoError(t, err)
	s := newSite(t, "one")
	s.write("hook.sh", `echo "$STRATOS_HOOK of $STRATOS_REVISION in $PWD, $GREETING, $WORD" >&2
answer=$(python3 -c 'import os, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:" + os.environ["PORT"]).read().decode())' 2>/dev/null)
echo "$STRATOS_HOOK: ${answer:-nobody answers}"
`)
	one := s.commitAll()
	b.subscribe(s, func(sub *tenant.Subscription) {
		sub.Cartridge, sub.Env = "hooked", map[string]string{"WORD": "a word"}
	})
	admin := adminOf(t, b.Config())
	var said []string
	require.Eventually(t, func() bool {
		lines, err := admin.Logs(b.ctx, tenant.Default, app, client.LogQuery{})
		require.NoError(t, err)
		said = nil
		for _, l := range lines {
			if l.Source == "hook" {
				said = append(said, l.Text)
			}
		}
		return len(said) == 4
	}, patience, patience/1000)
	require.Contains(t, said[0], "artifacts-updated of "+one)
	require.Contains(t, said[0], ", hello, a word")
	require.Equal(t, "artifacts-updated: nobody answers", said[1])
	require.Contains(t, said[2], "instance-activated of "+one)
	require.Equal(t, "instance-activated: one", said[3])

	stop := b.load(2, "/")
	for moment, script := range map[string]string{
		"artifacts-updated":  `echo "there is no table"; exit 3`,
		"instance-activated": `[ $STRATOS_HOOK = artifacts-updated ] && exit 0; echo "there is no table"; exit 3`,
	} {
		s.write("hook.sh", script)
		revision := s.commitAll()
		require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
		c := b.await(moment+" fails", func(c *topology.ClusterView) bool {
			return c.Cluster.Refused != nil && c.Cluster.Refused.Release.Revision == revision
		})
		require.Contains(t, c.Cluster.Refused.Reason, `hook "`+moment+`": exit status 3: there is no table`)
		require.Contains(t, c.Cluster.Refused.Log, "there is no table")
	}
	s.write("hook.sh", `[ $STRATOS_HOOK = artifacts-updated ] || sleep 1000`)
	late := s.commitAll()
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	c := b.await("it takes too long", func(c *topology.ClusterView) bool {
		return c.Cluster.Refused != nil && c.Cluster.Refused.Release.Revision == late
	})
	require.Contains(t, c.Cluster.Refused.Reason, "did not end within 3s")
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
	b.current(one, "one")
}
