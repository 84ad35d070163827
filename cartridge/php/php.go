// Package php runs PHP applications: php-fpm behind nginx, on a unix socket.
//
// There is nothing to configure: the folder with the front controller is
// found, and the two programs' files are written. What a request names is
// served if it is a file, run if it is a .php file that exists, and else given
// to index.php, as WordPress, Laravel, Symfony and most others expect.
//
// # Settings
//
//	root          the served folder; default: public, web or the repository
//	              itself, the first that has an index.php or index.html
//	memory_limit  of one request, as in php.ini: default 128M
//	children      requests served at the same time: default 8
//	shared        folders of the repository, separated by spaces, that all
//	              members share and releases leave alone: what visitors upload.
//	              Default: wp-content/uploads, for WordPress
//
// # Environment
//
// What the subscription sets is there for getenv and $_ENV. DATA_DIR names a
// folder that all members on a machine share, and that outlives them. Sessions
// are kept below it, so that neither another member nor a new release logs
// anybody out. The release itself is read-only.
package php

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/cartridge"
)

// Type is the cartridge "php".
type Type struct{}

var _ cartridge.Type = Type{}

// Name returns "php".
func (Type) Name() string { return "php" }

// Plan returns how to run the release with php-fpm and nginx.
func (Type) Plan(in cartridge.Input) (cartridge.Plan, error) {
	c, err := configure(in)
	if err != nil {
		return cartridge.Plan{}, err
	}
	build, err := composer(in.Release)
	if err != nil {
		return cartridge.Plan{}, err
	}
	web := cartridge.Nginx{
		Root:      c.root,
		Index:     []string{"index.php", "index.html"},
		Otherwise: "/index.php$is_args$args",
		HTTP:      nginxHTTP,
		Server:    nginxServer,
	}
	env := map[string]string{"DATA_DIR": `{{volume "` + volume + `"}}/data`}
	for k, v := range in.Env {
		env[k] = cartridge.Literal(v)
	}
	return cartridge.Plan{
		V:         cartridge.PlanVersion,
		Cartridge: "php",
		Build:     build,
		Programs: []cartridge.Program{
			{Names: []string{"php-fpm", "php-fpm8.5", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2", "php-fpm8.1", "php-fpm8.0"}, Package: "php-fpm"},
			web.Program(),
		},
		Ports:     []cartridge.Port{{Name: "http", Protocol: "http"}},
		Dirs:      append(web.Dirs(), "tmp"),
		Volumes:   []cartridge.Volume{{Name: volume, Dirs: []string{sessions, "data"}}},
		Links:     c.links(),
		Files:     []cartridge.File{{Path: "fpm.conf", Content: c.fpm()}, web.File()},
		Processes: []cartridge.Process{process(env), web.Process()},
		Health:    cartridge.Health{Kind: cartridge.HealthHTTP, Port: "http", Path: "/"},
		// Both programs finish their requests when told QUIT, and cut them
		// when told TERM.
		Stop: cartridge.Stop{Signal: "QUIT", Grace: 30 * time.Second},
	}, nil
}

// config is what the settings and the release say.
type config struct {
	root     string
	memory   string
	children int
	shared   []string // below root, clean
}

func configure(in cartridge.Input) (config, error) {
	c := config{memory: "128M", children: 8}
	for _, k := range slices.Sorted(maps.Keys(in.Settings)) {
		v := in.Settings[k]
		switch k {
		case "root":
			c.root = v
		case "memory_limit":
			if !size(v) {
				return c, fmt.Errorf("setting memory_limit: %q is no size: write for example 128M", v)
			}
			c.memory = v
		case "shared":
			c.shared = strings.Fields(v)
		case "children":
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > 256 {
				return c, fmt.Errorf("setting children: %q is no number from 1 to 256", v)
			}
			c.children = n
		default:
			return c, fmt.Errorf("setting %s: php knows root, memory_limit, children and shared", k)
		}
	}
	if err := cartridge.CheckEnv(in.Env); err != nil {
		return c, err
	}
	if _, ok := in.Env["PORT"]; ok {
		return c, errors.New("env PORT: the platform chooses the port: remove the variable")
	}
	if err := c.find(in.Release); err != nil {
		return c, err
	}
	return c, c.share(in.Release)
}

// share checks the folders that members share.
func (c *config) share(release fs.FS) error {
	if len(c.shared) == 0 && regular(release, path.Join(c.root, "wp-includes/version.php")) {
		c.shared = []string{"wp-content/uploads"}
	}
	for i, dir := range c.shared {
		if dir = strings.TrimSuffix(dir, "/"); dir == "." || !fs.ValidPath(dir) || strings.HasPrefix(dir, ".git") {
			return fmt.Errorf("setting shared: %q is no folder of the repository: write one like storage/uploads", c.shared[i])
		}
		entries, err := fs.ReadDir(release, path.Join(c.root, dir))
		if err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") }) {
			return fmt.Errorf("setting shared: the repository has files in %s, which would be hidden: remove them there", dir)
		}
		c.shared[i] = dir
	}
	return nil
}

// links lead from the shared folders into the volume.
func (c config) links() (all []cartridge.Link) {
	for _, dir := range c.shared {
		all = append(all, cartridge.Link{Path: path.Join(c.root, dir), Volume: volume, Dir: "files/" + dir})
	}
	return all
}

// find sets the root, or checks the one that is set.
func (c *config) find(release fs.FS) error {
	if c.root != "" {
		if err := cartridge.CheckRoot(c.root); err != nil {
			return err
		}
		c.root = path.Clean(c.root)
		if info, err := fs.Stat(release, c.root); err != nil || !info.IsDir() {
			return fmt.Errorf("setting root: there is no folder %q in the repository", c.root)
		}
		return nil
	}
	for _, dir := range []string{"public", "web", "."} {
		for _, name := range []string{"index.php", "index.html"} {
			if regular(release, path.Join(dir, name)) {
				c.root = dir
				return nil
			}
		}
	}
	scripts, err := fs.Glob(release, "*.php")
	if err != nil {
		return fmt.Errorf("reading the repository: %w", err)
	}
	if !slices.ContainsFunc(scripts, func(name string) bool { return regular(release, name) }) {
		return errors.New("there is no PHP here: add index.php to the repository, to public/ or to web/, or name its folder in the setting root")
	}
	c.root = "."
	return nil
}

func regular(release fs.FS, name string) bool {
	info, err := fs.Stat(release, name)
	return err == nil && info.Mode().IsRegular()
}

// size reports whether v is what php.ini takes for a number of bytes.
func size(v string) bool {
	if v == "-1" {
		return true
	}
	digits := strings.TrimRight(v, "KMGkmg")
	return digits != "" && len(digits) <= 12 && len(v)-len(digits) <= 1 && strings.Trim(digits, "0123456789") == ""
}

// composer returns the build: what the lock file lists is installed, unless
// the repository brings it along.
func composer(release fs.FS) ([]cartridge.Command, error) {
	b, err := fs.ReadFile(release, "composer.lock")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading composer.lock: %w", err)
	}
	var lock struct {
		Packages []json.RawMessage `json:"packages"`
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("composer.lock is no JSON: %w: run composer update and commit it", err)
	}
	if _, err := fs.Stat(release, "vendor/autoload.php"); err == nil || len(lock.Packages) == 0 {
		return nil, nil
	}
	return []cartridge.Command{{
		Args:    []string{"composer", "install", "--no-dev", "--no-interaction", "--no-progress", "--prefer-dist", "--optimize-autoloader"},
		Package: "composer",
	}}, nil
}
