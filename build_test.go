package stratos_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// scripted is a cartridge whose build is a script of the repository's.
func scripted(t testing.TB) cartridge.Type {
	t.Helper()
	d, err := cartridge.DecodeDefinition([]byte(`
name: scripted
plan:
  programs: [{names: [python3], package: python3}]
  build: [{args: [sh, build.sh]}]
  ports: [{name: http}]
  processes: [{name: web, args: [python3, app.py], env: {PORT: '{{port "http"}}'}}]
  health: {kind: tcp, port: http, start: 20s}
`))
	require.NoError(t, err)
	return d.Type()
}

// withScripts adds the cartridge, and small limits.
func withScripts(t testing.TB) func(*stratos.Config) {
	return func(c *stratos.Config) {
		c.Cartridges = append(c.Cartridges, scripted(t))
		// Builds get what others leave, which can be little while other tests run.
		c.Build = stratos.BuildLimits{Time: 5 * time.Minute, CPU: 500 * time.Millisecond, Memory: 100 << 20, Disk: 40 << 20, Processes: 40}
	}
}

// script commits a build of the site.
func (s *site) script(text string) string {
	s.write("build.sh", text)
	return s.commitAll()
}

// TestGreedyBuilds: one that eats the processor, memory or the disk is stopped at its limit, and says so; what runs is not touched, and the next
// good commit is built.
func TestGreedyBuilds(t *testing.T) {
	b := newBed(t, withScripts(t))
	s := newSite(t, "fine")
	s.script("echo built > built\n")
	b.subscribe(s, func(sub *tenant.Subscription) { sub.Cartridge = "scripted" })
	stop := b.load(2, "/")
	for _, c := range []struct{ name, script, want string }{
		{"processor", "while :; do :; done", "it used more than 500ms of processor time"},
		{"memory", "tail /dev/zero", "it used more than 100 MiB of memory"},
		{"disk", "while :; do dd if=/dev/zero of=$(mktemp) bs=1M count=10; done 2>/dev/null", "it wrote more than 40 MiB"},
		{"processes", "f() { f | f & }; f; sleep 100", "it ran more than 40 processes"},
	} {
		revision := s.script(c.script + "\n")
		require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app), c.name)
		v := b.await(c.name+" is refused", func(v *topology.ClusterView) bool {
			return v.Cluster.Refused != nil && v.Cluster.Refused.Release.Revision == revision
		})
		require.Contains(t, v.Cluster.Refused.Reason, c.want, c.name)
		require.Contains(t, v.Cluster.Refused.Log, "$ sh build.sh", c.name)
	}
	last := s.script("echo again > built\n")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("it is built", func(v *topology.ClusterView) bool {
		return v.Cluster.Current != nil && v.Cluster.Current.Revision == last
	})
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
	left, err := filepath.Glob(filepath.Join(b.Config().Dir, "artifacts", "tmp", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestSlowBuild: one that takes too long is stopped, and says so.
func TestSlowBuild(t *testing.T) {
	b := newBed(t, withScripts(t), func(c *stratos.Config) { c.Build.Time = 3 * time.Second })
	s := newSite(t, "fine")
	slow := s.script("echo sleeping; sleep 1000\n")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, func(sub *tenant.Subscription) { sub.Cartridge = "scripted" })))
	c := b.await("it is refused", func(c *topology.ClusterView) bool {
		return c.Cluster.Refused != nil && c.Cluster.Refused.Release.Revision == slow
	})
	require.Contains(t, c.Cluster.Refused.Reason, "its build took longer than 3s")
}

// TestBuildsSeeNothing of the platform: neither its secrets, nor what others
// have built, nor the home of who runs it.
func TestBuildsSeeNothing(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "id_ed25519"), []byte("secret"), 0o600))
	t.Setenv("HOME", home)
	b := newBed(t, withScripts(t))
	s := newSite(t, "fine")
	key, err := filepath.Abs(b.Config().MasterKey)
	require.NoError(t, err)
	if b.Config().MasterKey == "" {
		key = filepath.Join(b.Config().Dir, "master.key")
	}
	s.script(": > app.seen; for f in " + strings.Join([]string{
		key, filepath.Join(b.Config().Dir, "admin.token"), filepath.Join(b.Config().Dir, "stratos.db"), filepath.Join(home, "id_ed25519"),
	}, " ") + `; do test -e $f && echo "there is $f" >> app.seen; done
env | grep -i -E "secret|token|key" >> app.seen
touch /etc/stratos-was-here /usr/stratos-was-here 2>/dev/null && echo "it can write" >> app.seen
true
`)
	require.FileExists(t, key)
	s.write("Procfile", "web: python3 app.py\n")
	b.subscribe(s, func(sub *tenant.Subscription) { sub.Cartridge = "scripted" })
	seen, err := filepath.Glob(filepath.Join(b.Config().Dir, "accounts/here/instances/*/agent/releases/*/app.seen"))
	require.NoError(t, err)
	for _, f := range seen {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.Empty(t, string(text))
	}
	require.Len(t, seen, 1)
}
