package cartridge

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxPlan is the most text that a plan may hold in its files, in bytes.
const MaxPlan = 1 << 20

// Check says what is wrong with a plan: nil if an agent can execute it. All
// that is found is joined; each error names its field.
func (p Plan) Check() error {
	c := &checker{}
	if p.V != PlanVersion {
		c.add("v: %d, want %d", p.V, PlanVersion)
	}
	if !ValidName(p.Cartridge) {
		c.add("cartridge: %q is no name: use a-z, 0-9 and -, a letter first", p.Cartridge)
	}
	c.build(p.Build)
	programs := c.programs(p.Programs)
	ports := c.ports(p.Ports)
	c.files(p)
	c.processes(p.Processes, programs)
	c.health(p.Health, p.Ports)
	c.stop(p.Stop)
	for i, f := range p.Logs {
		c.below(fmt.Sprintf("logs[%d]", i), f, "the runtime's folder")
	}
	c.volumes(p.Volumes)
	c.links(p)
	c.secrets(p.Secrets)
	c.service(p, programs)
	c.hooks(p.Hooks, programs)
	sample := Vars{
		Ports: ports, Release: "/r", Dir: "/d", Data: "/v",
		Volumes: map[string]string{}, Secrets: map[string]string{},
	}
	for _, v := range p.Volumes {
		sample.Volumes[v.Name] = "/w/" + v.Name
	}
	for _, name := range p.Secrets {
		sample.Secrets[name] = "s"
	}
	if _, err := p.Expand(sample); err != nil {
		c.errs = append(c.errs, err)
	}
	sample.Binding = &Binding{User: "u", Password: "p", Database: "d"}
	c.errs = append(c.errs, p.tryActions(sample))
	return errors.Join(c.errs...)
}

// ValidName reports whether s can name a cartridge, a port or a process: at
// most 63 of a-z, 0-9 and -, a letter first.
func ValidName(s string) bool {
	if s == "" || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// CheckEnv says which names or values cannot stand in an environment.
func CheckEnv(env map[string]string) error {
	c := &checker{}
	c.env("env", env)
	return errors.Join(c.errs...)
}

// checker collects errors.
type checker struct{ errs []error }

func (c *checker) add(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// text refuses what JSON or execve cannot carry.
func (c *checker) text(field, s string) {
	if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
		c.add("%s: holds a NUL byte or is not UTF-8", field)
	}
}

func (c *checker) env(field string, env map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if k == "" || strings.ContainsAny(k, "=\x00") || !utf8.ValidString(k) {
			c.add("%s: %q is no name of a variable", field, k)
		}
		c.text(fmt.Sprintf("%s[%s]", field, k), env[k])
	}
}

func (c *checker) args(field string, args []string) {
	if len(args) == 0 || args[0] == "" {
		c.add("%s: names no program", field)
	}
	for i, a := range args {
		c.text(fmt.Sprintf("%s[%d]", field, i), a)
	}
}

func (c *checker) build(commands []Command) {
	for i, b := range commands {
		c.args(fmt.Sprintf("build[%d].args", i), b.Args)
		c.env(fmt.Sprintf("build[%d].env", i), b.Env)
	}
}

// programs returns the names by which processes may call the programs.
func (c *checker) programs(programs []Program) map[string]bool {
	known := map[string]bool{}
	for i, g := range programs {
		if len(g.Names) == 0 {
			c.add("programs[%d].names: is empty", i)
			continue
		}
		for _, n := range g.Names {
			if n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/{\x00") {
				c.add("programs[%d].names: %q is no name of a program", i, n)
			}
		}
		if known[g.Names[0]] {
			c.add("programs[%d].names: %q is there twice", i, g.Names[0])
		}
		known[g.Names[0]] = true
	}
	return known
}

// ports returns a number for each port, to try the templates with.
func (c *checker) ports(ports []Port) map[string]int {
	known := map[string]int{}
	for i, p := range ports {
		if !ValidName(p.Name) {
			c.add("ports[%d].name: %q is no name: use a-z, 0-9 and -, a letter first", i, p.Name)
		}
		if _, twice := known[p.Name]; twice {
			c.add("ports[%d].name: %q is there twice", i, p.Name)
		}
		if p.Protocol != "" && p.Protocol != "http" && p.Protocol != "tcp" {
			c.add(`ports[%d].protocol: %q is neither "http" nor "tcp"`, i, p.Protocol)
		}
		known[p.Name] = 1024 + i
	}
	return known
}

func (c *checker) files(p Plan) {
	local := func(field, path string) {
		if !filepath.IsLocal(path) || path != filepath.Clean(path) || strings.ContainsRune(path, 0) {
			c.add("%s: %q is no clean path below the runtime's folder", field, path)
		}
	}
	for i, d := range p.Dirs {
		local(fmt.Sprintf("dirs[%d]", i), d)
	}
	for i, d := range p.DataDirs {
		local(fmt.Sprintf("dataDirs[%d]", i), d)
	}
	seen, size := map[string]bool{}, 0
	for i, f := range p.Files {
		local(fmt.Sprintf("files[%d].path", i), f.Path)
		c.text(fmt.Sprintf("files[%d].content", i), f.Content)
		if f.Path == "." || seen[f.Path] || slices.Contains(p.Dirs, f.Path) {
			c.add("files[%d].path: %q is there twice, or a folder", i, f.Path)
		}
		if f.Mode&^0o777 != 0 {
			c.add("files[%d].mode: %o has more than the nine bits of permission", i, f.Mode)
		}
		seen[f.Path] = true
		size += len(f.Content)
	}
	if size > MaxPlan {
		c.add("files: hold %d bytes, more than %d: put them into the release", size, MaxPlan)
	}
}

func (c *checker) processes(processes []Process, programs map[string]bool) {
	if len(processes) == 0 {
		c.add("processes: there is none")
	}
	seen := map[string]bool{}
	for i, r := range processes {
		field := fmt.Sprintf("processes[%d]", i)
		if !ValidName(r.Name) {
			c.add("%s.name: %q is no name: use a-z, 0-9 and -, a letter first", field, r.Name)
		}
		if seen[r.Name] {
			c.add("%s.name: %q is there twice", field, r.Name)
		}
		seen[r.Name] = true
		c.programArgs(field, r.Args, programs)
		c.text(field+".dir", r.Dir)
		c.env(field+".env", r.Env)
	}
}

// programArgs checks the arguments of what runs on an instance.
func (c *checker) programArgs(field string, args []string, programs map[string]bool) {
	c.args(field+".args", args)
	if len(args) > 0 && args[0] != "" && !strings.ContainsRune(args[0], '/') && !strings.HasPrefix(args[0], "{{.") && !programs[args[0]] {
		c.add("%s.args[0]: %q is the first name of none of the programs: list it there, or give a path", field, args[0])
	}
}

func (c *checker) health(h Health, ports []Port) {
	if !slices.Contains([]HealthKind{"", HealthHTTP, HealthTCP, HealthGreeting}, h.Kind) {
		c.add(`health.kind: %q is none of "http", "tcp", "greeting"`, h.Kind)
	}
	fallback(&h.Port, DefaultPort)
	if !slices.ContainsFunc(ports, func(p Port) bool { return p.Name == h.Port }) {
		c.add("health.port: there is no port %q", h.Port)
	}
	if h.Path != "" && (h.Path[0] != '/' || strings.ContainsFunc(h.Path, unprintable)) {
		c.add("health.path: %q is no path: it starts with / and holds no space", h.Path)
	}
	c.durations("health", h.Start, h.Timeout, h.Every)
}

func (c *checker) stop(s Stop) {
	if !slices.Contains([]string{"", "TERM", "QUIT", "INT"}, s.Signal) {
		c.add(`stop.signal: %q is none of "TERM", "QUIT", "INT"`, s.Signal)
	}
	c.durations("stop", s.Grace)
}

func (c *checker) volumes(volumes []Volume) {
	seen := map[string]bool{}
	for i, v := range volumes {
		if !ValidName(v.Name) || seen[v.Name] {
			c.add("volumes[%d].name: %q is no name, or there twice: use a-z, 0-9 and -, a letter first", i, v.Name)
		}
		seen[v.Name] = true
		for j, d := range v.Dirs {
			c.below(fmt.Sprintf("volumes[%d].dirs[%d]", i, j), d, "the volume")
		}
	}
}

func (c *checker) links(p Plan) {
	var paths []string
	for i, l := range p.Links {
		field := fmt.Sprintf("links[%d]", i)
		c.below(field+".path", l.Path, "the release")
		c.below(field+".dir", l.Dir, "the volume")
		if !slices.ContainsFunc(p.Volumes, func(v Volume) bool { return v.Name == l.Volume }) {
			c.add("%s.volume: there is no volume %q", field, l.Volume)
		}
		for _, o := range paths {
			if o == l.Path || strings.HasPrefix(o, l.Path+"/") || strings.HasPrefix(l.Path, o+"/") {
				c.add("%s.path: %q and %q are in each other's way", field, l.Path, o)
			}
		}
		paths = append(paths, l.Path)
	}
}

// below refuses what is no clean path below a folder.
func (c *checker) below(field, path, of string) {
	if path == "." || !filepath.IsLocal(path) || path != filepath.Clean(path) || strings.ContainsRune(path, 0) {
		c.add("%s: %q is no clean path below %s", field, path, of)
	}
}

func (c *checker) secrets(names []string) {
	seen := map[string]bool{}
	for i, n := range names {
		if !ValidName(n) || seen[n] {
			c.add("secrets[%d]: %q is no name, or there twice: use a-z, 0-9 and -, a letter first", i, n)
		}
		seen[n] = true
	}
}

func (c *checker) service(p Plan, programs map[string]bool) {
	s := p.Service
	if s == nil {
		return
	}
	if !ValidName(s.Scheme) {
		c.add("service.scheme: %q is no scheme of a URL: use a-z, 0-9 and -, a letter first", s.Scheme)
	}
	port := cmp.Or(s.Port, firstTCP(p.Ports))
	if !slices.ContainsFunc(p.Ports, func(o Port) bool { return o.Name == port && o.Protocol == "tcp" }) {
		c.add("service.port: there is no port %q of protocol tcp", port)
	}
	if (s.Backup == nil) != (s.Restore == nil) {
		c.add("service: a backup that cannot be restored is none: give backup and restore, or neither")
	}
	for name, a := range s.actions() {
		c.action("service."+name, *a, programs)
	}
	if s.Restore != nil && s.Restore.Input != "" {
		c.add("service.restore.input: a restore reads the backup, and nothing else")
	}
}

func (c *checker) action(field string, a Action, programs map[string]bool) {
	c.programArgs(field, a.Args, programs)
	c.env(field+".env", a.Env)
	c.text(field+".input", a.Input)
	c.durations(field, a.Timeout)
}

func (c *checker) hooks(all []Hook, programs map[string]bool) {
	for i, h := range all {
		field := fmt.Sprintf("hooks[%d]", i)
		if h.On != ArtifactsUpdated && h.On != InstanceActivated {
			c.add("%s.on: %q is no moment: use %s or %s", field, h.On, ArtifactsUpdated, InstanceActivated)
		}
		c.action(field+".run", h.Run, programs)
	}
}

// The actions of a service, by their fields.
const (
	connect    = "connect"
	disconnect = "disconnect"
	backup     = "backup"
	restore    = "restore"
)

// hook is what actions of hooks are called beside those.
const hook = "hook"

// actions are those that there are, in a fixed order, by their names.
func (s *Service) actions() iter.Seq2[string, *Action] {
	return func(yield func(string, *Action) bool) {
		if s == nil {
			return
		}
		for _, a := range []struct {
			name   string
			action *Action
		}{{connect, &s.Connect}, {disconnect, &s.Disconnect}, {backup, s.Backup}, {restore, s.Restore}} {
			if a.action != nil && !yield(a.name, a.action) {
				return
			}
		}
	}
}

func (c *checker) durations(field string, all ...time.Duration) {
	for _, d := range all {
		if d < 0 || d > 24*time.Hour {
			c.add("%s: %v is not between 0 and 24 h", field, d)
		}
	}
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }
