package mysql_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/mysql"
)

// sql runs a statement as somebody who is connected over the network.
func sql(t testing.TB, r *cartridgetest.Runtime, host, user, password, database, statement string) (string, error) {
	t.Helper()
	cmd := exec.Command("mariadb", "--no-defaults", "--protocol=tcp", "--skip-ssl", "--default-character-set=utf8mb4", "-h", host, "-P", fmt.Sprint(r.Ports["mysql"]), "-u", user, "-N", "-B", "-e", statement, database)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "MYSQL_PWD=" + password}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// as runs a statement with a binding.
func as(t testing.TB, r *cartridgetest.Runtime, b cartridge.Binding, statement string) string {
	t.Helper()
	out, err := sql(t, r, "127.0.0.1", b.User, b.Password, b.Database, statement)
	require.NoError(t, err)
	return out
}

var (
	blog = cartridge.Binding{User: "u1", Password: "0123456789abcdef0123456789abcdef", Database: "blog"}
	shop = cartridge.Binding{User: "u2", Password: "fedcba9876543210fedcba9876543210", Database: "shop"}
)

func TestConnections(t *testing.T) {
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{})
	r.Connect(blog)
	r.Connect(shop)
	r.Connect(blog)
	as(t, r, blog, "CREATE TABLE a (t TEXT); INSERT INTO a VALUES ('żółw 🐢')")
	require.Equal(t, "żółw 🐢", as(t, r, blog, "SELECT t FROM a"))
	require.Equal(t, "blog\ninformation_schema", as(t, r, blog, "SHOW DATABASES"))
	for _, statement := range []string{
		"SELECT * FROM blog.a", "CREATE DATABASE x", "CREATE USER x", "GRANT ALL ON shop.* TO u1", "SELECT * FROM mysql.global_priv",
		"SELECT LOAD_FILE('/etc/passwd') IS NOT NULL FROM mysql.user", "SELECT 1 INTO OUTFILE '/tmp/x'", "SET GLOBAL init_connect='x'",
	} {
		_, err := sql(t, r, "127.0.0.1", shop.User, shop.Password, shop.Database, statement)
		require.Error(t, err, statement)
	}
	changed := blog
	changed.Password = strings.Repeat("1", 32)
	r.Connect(changed)
	require.Equal(t, "1", as(t, r, changed, "SELECT COUNT(*) FROM a"))
	_, err := sql(t, r, "127.0.0.1", blog.User, blog.Password, blog.Database, "DO 0")
	require.ErrorContains(t, err, "Access denied")

	// Who sleeps in a connection loses it.
	slept := make(chan error, 1)
	go func() {
		_, err := sql(t, r, "127.0.0.1", shop.User, shop.Password, shop.Database, "SELECT SLEEP(600)")
		slept <- err
	}()
	require.Eventually(t, func() bool {
		return as(t, r, shop, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'") == "1"
	}, patience, look)
	r.Disconnect(shop)
	require.Error(t, <-slept)
	_, err = sql(t, r, "127.0.0.1", shop.User, shop.Password, shop.Database, "DO 0")
	require.ErrorContains(t, err, "Access denied")
	r.Disconnect(shop)
}

// TestRootIsRefused: without a password and with it, at every address.
func TestRootIsRefused(t *testing.T) {
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{})
	for _, password := range []string{"", r.Secret("root")} {
		for _, user := range []string{"root", "", "mysql", "mariadb.sys"} {
			_, err := sql(t, r, "127.0.0.1", user, password, "", "DO 0")
			require.Error(t, err, "%q", user)
			require.Regexp(t, `Access denied|is not allowed to connect`, err.Error())
		}
	}
	for _, host := range []string{"::1", outside(t)} {
		_, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(r.Ports["mysql"])))
		require.Error(t, err, "it listens on %s", host)
	}
	cmd := exec.Command("mariadb", "--no-defaults", "-S", "server.sock", "-u", "root", "-e", "DO 0")
	cmd.Dir = r.Volume("data") + "/db"
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "Access denied")
}

// TestDataIsThereAgain: after a crash, and on a volume whose first start was
// ended at any moment.
func TestDataIsThereAgain(t *testing.T) {
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{})
	r.Connect(blog)
	as(t, r, blog, "CREATE TABLE a (n INT); INSERT INTO a VALUES (1), (2)")
	r.Kill()
	r = r.Again()
	require.Equal(t, "2", as(t, r, blog, "SELECT COUNT(*) FROM a"))
	r.Stop()
	r = r.Again()
	require.Equal(t, "2", as(t, r, blog, "SELECT COUNT(*) FROM a"))
}

func TestFirstStartEndedInTheMiddle(t *testing.T) {
	const kills = 15
	r := cartridgetest.Launch(t, mysql.Type{}, cartridgetest.Case{})
	for i := range kills {
		timer := time.NewTimer(time.Duration(i) * 40 * time.Millisecond) // how far it came
		<-timer.C
		r.Kill()
		r = r.Relaunch()
	}
	r.Kill()
	r = r.Again()
	r.Connect(blog)
	require.Equal(t, "0", as(t, r, blog, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='blog'"))
	require.NoDirExists(t, r.Volume("data")+"/new")
}

func TestBackupAndRestore(t *testing.T) {
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{})
	require.NoError(t, r.Restore(r.Backup()), "of nothing")
	r.Connect(blog)
	r.Connect(shop)
	as(t, r, blog, `CREATE TABLE a (n INT PRIMARY KEY, b BLOB, t TEXT); INSERT INTO a VALUES (1, X'00ff0a0d1a27', 'żółw 🐢');
		CREATE TRIGGER up BEFORE INSERT ON a FOR EACH ROW SET NEW.n = NEW.n + 1;
		CREATE FUNCTION two() RETURNS INT DETERMINISTIC RETURN 2; CREATE VIEW v AS SELECT n FROM a;
		INSERT INTO a VALUES (7, 'x', 'y')`)
	as(t, r, shop, "CREATE TABLE kept (n INT); INSERT INTO kept VALUES (1)")
	before := as(t, r, blog, "CHECKSUM TABLE a")
	backup := r.Backup()
	as(t, r, blog, "DROP TABLE a; CREATE TABLE later (n INT)")
	as(t, r, shop, "INSERT INTO kept VALUES (2)")
	require.NoError(t, r.Restore(backup))
	require.Equal(t, before, as(t, r, blog, "CHECKSUM TABLE a"))
	require.Equal(t, "2\n1\n8", as(t, r, blog, "SELECT two(); SELECT n FROM v"))
	require.Equal(t, "a\nv", as(t, r, blog, "SHOW TABLES"), "what came later is gone")
	require.Equal(t, "1", as(t, r, shop, "SELECT COUNT(*) FROM kept"))
	require.Error(t, r.Restore(backup+"\nNONSENSE;\n"))
	require.NotContains(t, backup, "IDENTIFIED")
	require.NotContains(t, backup, r.Secret("root"))
}

func TestSchemas(t *testing.T) {
	files := map[string]string{
		"2.sql": "INSERT INTO app.a VALUES (2);", "10.sql": "INSERT INTO app.a VALUES (10);",
		"1-base.sql": "CREATE DATABASE IF NOT EXISTS app;\nCREATE TABLE IF NOT EXISTS app.a (n INT);", "README.md": "x",
	}
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{Files: files})
	app := cartridge.Binding{User: "u3", Password: blog.Password, Database: "app"}
	r.Connect(app)
	require.Equal(t, "10\n2", as(t, r, app, "SELECT n FROM a"), "in the order of their names")
	r.Stop()
	r = r.Again()
	require.Equal(t, "10\n2", as(t, r, app, "SELECT n FROM a"), "each once")
	r.Stop()

	bad := cartridgetest.Launch(t, mysql.Type{}, cartridgetest.Case{Files: map[string]string{"a.sql": "DO 0;\nSELEKT 1;\n"}})
	require.Eventually(t, func() bool { return len(bad.Processes()) == 0 }, patience, look)
	require.Regexp(t, `(?s)a\.sql: .*ERROR 1064 \(42000\) at line 2`, bad.Log())
}

// TestNoSecretInArguments watches every process while actions run.
func TestNoSecretInArguments(t *testing.T) {
	r := cartridgetest.Start(t, mysql.Type{}, cartridgetest.Case{})
	over := make(chan struct{})
	seen := make(chan int, 1)
	go func() {
		n := 0
		defer func() { seen <- n }()
		for {
			select {
			case <-over:
				return
			default:
			}
			all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range all {
				text, err := os.ReadFile(path)
				if err != nil {
					continue // it has ended
				}
				n += strings.Count(string(text), "client.cnf")
				if strings.Contains(string(text), blog.Password) || strings.Contains(string(text), r.Secret("root")) {
					t.Errorf("a secret is in %s: %q", path, text)
				}
			}
		}
	}()
	for range 10 {
		r.Connect(blog)
		require.NoError(t, r.Restore(r.Backup()))
		r.Disconnect(blog)
	}
	close(over)
	require.Positive(t, <-seen, "no action was seen: the test is blind")
	require.NotContains(t, r.Log(), blog.Password)
	require.NotContains(t, r.Log(), r.Secret("root"))
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings map[string]string
		files    fstest.MapFS
		says     string
	}{
		{"good", map[string]string{"memory": "2g", "connections": "10"}, nil, ""},
		{"odd memory", map[string]string{"memory": "a lot"}, nil, "setting memory: \"a lot\" is no amount: write one like 128m or 2g"},
		{"little memory", map[string]string{"memory": "7m"}, nil, "between 8m and 64g"},
		{"much memory", map[string]string{"memory": "65g"}, nil, "between 8m and 64g"},
		{"connections", map[string]string{"connections": "1"}, nil, "no number from 5 to 10000"},
		{"unknown", map[string]string{"colour": "red"}, nil, "there are connections and memory"},
		{"odd name", nil, fstest.MapFS{"a b.sql": {}}, "name it with letters"},
		{"a folder", nil, fstest.MapFS{"a.sql/b": {}}, "commit the file itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := mysql.Type{}.Plan(cartridge.Input{Release: c.files, Settings: c.settings})
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.NoError(t, p.Check())
			require.True(t, p.Exclusive())
			require.Contains(t, p.Files[0].Content, "innodb_buffer_pool_size=2048M\n")
			require.Contains(t, p.Files[0].Content, "max_connections=10\n")
		})
	}
}

// BenchmarkNewService measures a service on an empty volume, to its greeting.
func BenchmarkNewService(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		r := cartridgetest.Start(b, mysql.Type{}, cartridgetest.Case{})
		took = append(took, time.Since(began))
		b.StopTimer()
		r.Stop()
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds(), "s/median")
}

// outside is an address of this machine off loopback, or one of loopback's others.
func outside(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && ip.To4() != nil {
			return ip.String()
		}
	}
	return "127.0.0.2"
}
