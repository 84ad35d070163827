package stratos_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// visits counts who came, in the database that it is connected to.
const visits = `<?php
$u = parse_url(getenv('DATABASE_URL') ?: '');
if (empty($u['host'])) exit('not connected');
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$db = new mysqli($u['host'], $u['user'], $u['pass'], trim($u['path'], '/'), $u['port']);
$db->query('CREATE TABLE IF NOT EXISTS visits (n INT)');
if ($_SERVER['REQUEST_URI'] === '/drop') { $db->query('DROP TABLE visits'); exit('dropped'); }
if ($_SERVER['REQUEST_URI'] === '/visit') $db->query('INSERT INTO visits VALUES (1)');
echo $db->query('SELECT COUNT(*) FROM visits')->fetch_row()[0], ' visits';
`

const databaseCluster = topology.ClusterID("default.db")

// servers are the mariadbd processes of a platform.
func servers(t *testing.T, b *bed) (pids []int) {
	t.Helper()
	for pid := range processesOf(t, b.Config().Dir) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(name)) == "mariadbd" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestDatabase is the life of a database and of who uses it: connected before
// its first start, its server killed, its member replaced, disconnected.
func TestDatabase(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) {
		c.Cartridges = append(c.Cartridges, mysql.Type{})
		first := freePort(t)
		c.ServicePorts = stratos.PortRange{First: first, Last: first}
	})
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: "db", Cartridge: "mysql", Max: 3}))
	s := newSite(t, "x")
	s.commitFile("index.php", visits)
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, func(s *tenant.Subscription) { s.Cartridge = "php" })))
	require.NoError(t, b.Connect(b.ctx, tenant.Default, app, "db"))
	b.await("it serves with its database", func(c *topology.ClusterView) bool {
		return c.Cluster.Current != nil && c.Cluster.Current.Config != "" && c.Count(topology.Active) == 1
	})
	for range 3 {
		b.page("/visit")
	}
	require.Equal(t, "3 visits", b.page("/"))
	require.Len(t, servers(t, b), 1, "whatever maximum was asked for")

	// The server is killed: it comes back, with its data, and its users.
	require.NoError(t, syscall.Kill(servers(t, b)[0], syscall.SIGKILL))
	require.Eventually(t, func() bool { return b.serves("3 visits") }, patience, 10*time.Millisecond)

	// Its member is lost: the next one has the data. Never are there two servers.
	db := b.awaitOf(databaseCluster, "it is there", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 })
	lost := db.Members()[0]
	killSession(t, b, lost.ID)
	b.awaitOf(databaseCluster, "another member serves", func(c *topology.ClusterView) bool {
		require.LessOrEqual(t, len(servers(t, b)), 1)
		for _, m := range c.Members() {
			if m.ID != lost.ID && m.State == topology.Active && m.Bound == c.Cluster.Bindings {
				return true
			}
		}
		return false
	})
	require.Eventually(t, func() bool { return b.serves("3 visits") }, patience, 10*time.Millisecond)

	// A new release of the app has the same database.
	s.commitFile("index.php", strings.Replace(visits, "' visits'", "' more visits'", 1))
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	require.Eventually(t, func() bool { return b.serves("3 more visits") }, patience, 10*time.Millisecond)

	require.Error(t, b.Unsubscribe(b.ctx, tenant.Default, "db"))
	// A backup taken before a table is dropped brings it back.
	admin := adminOf(t, b.Config())
	backup := b.finished(admin.BackUpService(b.ctx, tenant.Default, "db"))
	require.Positive(t, backup.Size)
	b.page("/drop")
	require.Equal(t, "0 more visits", b.page("/"))
	b.finished(admin.RestoreService(b.ctx, tenant.Default, "db", backup.ID))
	require.Equal(t, "3 more visits", b.page("/"))
	var text strings.Builder
	require.NoError(t, admin.Download(b.ctx, tenant.Default, "db", backup.ID, &text))
	require.Len(t, text.String(), int(backup.Size))
	require.Error(t, admin.Download(b.ctx, tenant.Default, "db", "nothing", &text))
	_, err := admin.RestoreService(b.ctx, tenant.Default, "db", "nothing")
	require.Error(t, err)
	_, err = admin.BackUpService(b.ctx, tenant.Default, app)
	require.ErrorContains(t, err, "it has no service")
	copies := filepath.Join(b.Config().Dir, "backups", "sha256-*")
	stored, err := filepath.Glob(copies)
	require.NoError(t, err)
	require.Len(t, stored, 1)
	require.NoError(t, admin.RemoveBackup(b.ctx, tenant.Default, "db", backup.ID))
	stored, err = filepath.Glob(copies)
	require.NoError(t, err)
	require.Empty(t, stored)

	list, err := b.Bindings(b.ctx, databaseCluster)
	require.NoError(t, err)
	require.NoError(t, query(list.All[0], b.Config().ServicePorts.First))
	require.NoError(t, b.Disconnect(b.ctx, tenant.Default, app, "db"))
	require.Eventually(t, func() bool {
		err := query(list.All[0], b.Config().ServicePorts.First)
		return err != nil && strings.Contains(err.Error(), "Access denied")
	}, patience, 10*time.Millisecond, "its user is revoked")
	require.Eventually(t, func() bool { return b.serves("not connected") }, patience, 10*time.Millisecond)

	// The tenant's wishes hold no secret, and neither does the log.
	require.NotContains(t, b.log.String(), "mysql://")
	require.ErrorIs(t, b.Disconnect(b.ctx, tenant.Default, app, "db"), store.ErrNotFound)
}

// serves reports whether the app's first page is so now.
func (b *bed) serves(page string) bool {
	code, body, err := b.get("/")
	return err == nil && code == http.StatusOK && body == page
}

// query asks a service over the balancer's port whether it lets somebody in.
func query(as wire.Binding, port int) error {
	_, err := statement(as, port, "DO 0")
	return err
}

// statement runs SQL over the balancer's port.
func statement(as wire.Binding, port int, sql string) (string, error) {
	cmd := exec.Command("mariadb", "--no-defaults", "--protocol=tcp", "--skip-ssl", "-h", "127.0.0.1", "-P", fmt.Sprint(port), "-u", as.User, "-N", "-e", sql, as.Database)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "MYSQL_PWD=" + as.Password}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

// killSession ends an instance as a power cut does.
func killSession(t *testing.T, b *bed, m topology.MemberID) {
	t.Helper()
	for pid, folder := range processesOf(t, b.Config().Dir) {
		if strings.Contains(folder, string(m)) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with another
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	_, port, ok := strings.Cut(freeAddr(t), ":")
	require.True(t, ok)
	var n int
	_, err := fmt.Sscan(port, &n)
	require.NoError(t, err)
	return n
}
