// Package mysql runs a MariaDB server, Debian's MySQL, for each subscription,
// and lets others connect to it.
//
// A subscription needs no repository. If it has one, the files *.sql in it (of
// its folder sql, where the repository is for several cartridges) are run in
// the order of their names, as root, before the server takes connections: each
// once, and again when its content has changed. A server that is killed in
// between runs the file again, so they should be repeatable. They begin in no
// database. One that fails refuses the release, with its name and line.
//
// # Connections
//
// Every dependent has a user, a password and a database of its own, and sees no
// other. It gets DATABASE_URL (mysql://user:password@host:port/database; of the
// connection that was made first), and for a subscription db: DB_HOST, DB_PORT,
// DB_NAME, DB_USER, DB_PASSWORD and DB_URL. A user that is disconnected has no
// connection any more, at once; its database stays.
//
// Root comes in by a socket that only the instance's own user can reach, with a
// password that only the control plane and the instance know. Over the network
// there is no root.
//
// # Settings
//
//	memory       the buffer pool, 8m to 64g. Default 32m; the server needs some 50 MB more
//	connections  the most connections, 5 to 10000. Default 100
//
// # Limits
//
// One server, on one volume: a new release stops the former server before it
// starts. TLS to the server, replication and MySQL itself, which Debian does
// not have, are not there.
package mysql

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// Type is the cartridge "mysql".
type Type struct{}

var (
	_ cartridge.Foldered   = Type{}
	_ cartridge.Standalone = Type{}
)

// Name implements [cartridge.Type].
func (Type) Name() string { return "mysql" }

// Folder implements [cartridge.Foldered].
func (Type) Folder() string { return "sql" }

// Standalone implements [cartridge.Standalone].
func (Type) Standalone() bool { return true }

// system is where Debian's package has the statements that make a server's own tables.
const system = "/usr/share/mysql/"

// Plan implements [cartridge.Type].
func (Type) Plan(in cartridge.Input) (cartridge.Plan, error) {
	c, err := configOf(in.Settings)
	if err != nil {
		return cartridge.Plan{}, err
	}
	files, err := schemas(in.Release)
	if err != nil {
		return cartridge.Plan{}, err
	}
	env := map[string]string{}
	for name, value := range in.Env {
		env[name] = cartridge.Literal(value)
	}
	client := []string{"/bin/sh", "-c", `cd "$2/db" && exec mariadb --defaults-file="$1" --binary-mode`, "mariadb", "{{.Dir}}/client.cnf", `{{volume "data"}}`}
	return cartridge.Plan{
		V: cartridge.PlanVersion, Cartridge: "mysql",
		Programs: []cartridge.Program{
			{Names: []string{"mariadbd"}, Package: "mariadb-server"},
			{Names: []string{"mariadb"}, Package: "mariadb-client"},
			{Names: []string{"mariadb-dump"}, Package: "mariadb-client"},
		},
		Ports:   []cartridge.Port{{Name: "mysql", Protocol: "tcp"}},
		Dirs:    []string{"run"},
		Volumes: []cartridge.Volume{{Name: "data", Exclusive: true}},
		Secrets: []string{"root"},
		Files: []cartridge.File{
			{Path: "my.cnf", Content: c.server()},
			{Path: "client.cnf", Content: clientConfig, Mode: 0o600},
			{Path: "init.sql", Content: initSQL, Mode: 0o600},
			{Path: "start.sh", Content: script},
			{Path: "schemas", Content: cartridge.Literal(strings.Join(files, "\n") + "\n")},
		},
		Processes: []cartridge.Process{{
			Name: "mysql", Args: []string{"/bin/sh", "{{.Dir}}/start.sh", `{{volume "data"}}`, "{{.Release}}"}, Dir: "{{.Dir}}", Env: env,
		}},
		Health: cartridge.Health{Kind: cartridge.HealthGreeting, Port: "mysql", Start: 5 * time.Minute},
		Stop:   cartridge.Stop{Signal: "TERM", Grace: time.Minute},
		Service: &cartridge.Service{
			Scheme: "mysql", Port: "mysql",
			Connect:    cartridge.Action{Args: client, Input: connectSQL},
			Disconnect: cartridge.Action{Args: client, Input: disconnectSQL},
			Backup:     &cartridge.Action{Args: []string{"/bin/sh", "-c", backup, "mariadb-dump", "{{.Dir}}/client.cnf", `{{volume "data"}}`}},
			Restore:    &cartridge.Action{Args: client},
		},
	}, nil
}

// config is what a subscription chose.
type config struct {
	memory      string
	connections int
}

var memory = regexp.MustCompile(`^([1-9][0-9]{0,5})([mMgG])$`)

func configOf(settings map[string]string) (config, error) {
	c := config{memory: "32M", connections: 100}
	for name, value := range settings {
		switch name {
		case "memory":
			m := memory.FindStringSubmatch(value)
			if m == nil {
				return c, fmt.Errorf("setting memory: %q is no amount: write one like 128m or 2g", value)
			}
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return c, fmt.Errorf("setting memory: %w", err)
			}
			if strings.ToLower(m[2]) == "g" {
				n *= 1024
			}
			if n < 8 || n > 64*1024 {
				return c, fmt.Errorf("setting memory: %s is not between 8m and 64g", value)
			}
			c.memory = fmt.Sprintf("%dM", n)
		case "connections":
			n, err := strconv.Atoi(value)
			if err != nil || n < 5 || n > 10_000 {
				return c, fmt.Errorf("setting connections: %q is no number from 5 to 10000", value)
			}
			c.connections = n
		default:
			return c, fmt.Errorf("unknown setting %q: there are connections and memory", name)
		}
	}
	return c, nil
}

// maxSchemas bounds how many files are run.
const maxSchemas = 1000

var schemaName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.sql$`)

// schemas are the names of the files to run, in their order.
func schemas(release fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(release, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the repository: %w", err)
	}
	var files []string
	for _, e := range entries {
		switch {
		case path.Ext(e.Name()) != ".sql":
		case !e.Type().IsRegular():
			return nil, fmt.Errorf("%s is a link or no file: commit the file itself", e.Name())
		case !schemaName.MatchString(e.Name()):
			return nil, fmt.Errorf("%q: name it with letters, digits and . _ - only", e.Name())
		default:
			files = append(files, e.Name())
		}
	}
	if len(files) > maxSchemas {
		return nil, fmt.Errorf("there are %d files .sql, more than %d: put what belongs together into one", len(files), maxSchemas)
	}
	slices.Sort(files)
	return files, nil
}
