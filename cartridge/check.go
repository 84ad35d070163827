package cartridge

import (
	"errors"
	"fmt"
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
	if _, err := p.Expand(Vars{Ports: ports, Release: "/r", Dir: "/d", Data: "/v"}); err != nil {
		c.errs = append(c.errs, err)
	}
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
		c.args(field+".args", r.Args)
		if len(r.Args) > 0 && r.Args[0] != "" && !strings.ContainsRune(r.Args[0], '/') && !strings.HasPrefix(r.Args[0], "{{.") && !programs[r.Args[0]] {
			c.add("%s.args[0]: %q is the first name of none of the programs: list it there, or give a path", field, r.Args[0])
		}
		c.text(field+".dir", r.Dir)
		c.env(field+".env", r.Env)
	}
}

func (c *checker) health(h Health, ports []Port) {
	if h.Kind != "" && h.Kind != HealthHTTP && h.Kind != HealthTCP {
		c.add(`health.kind: %q is neither "http" nor "tcp"`, h.Kind)
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

func (c *checker) durations(field string, all ...time.Duration) {
	for _, d := range all {
		if d < 0 || d > 24*time.Hour {
			c.add("%s: %v is not between 0 and 24 h", field, d)
		}
	}
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }
