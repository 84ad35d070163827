// Package proc runs any program that listens on $PORT.
//
// How it is built and started is found in the repository, the first that
// applies:
//
//	setting "command"            the command itself
//	Procfile                     its web line; every other line runs beside it
//	go.mod                       the one main package, in the root or in cmd/
//	package.json                 its start script, or its main file
//	requirements.txt, *.py       gunicorn or uvicorn if required, else app.py or main.py
//	config.ru, app.rb            puma or rackup
//	index.html                   a static site, served by nginx
//
// Dependencies are installed whatever starts the program: a Procfile beside a
// package.json still means npm ci.
//
// # Commands
//
// A command is a line of sh. It runs in the release's folder, which is
// read-only, with PORT, DATA_DIR (a folder that outlives the release), HOST
// (127.0.0.1, where to listen) and what the subscription sets. What the build
// installed is in PATH. Braces in it are only braces. A static site runs no
// code, so that variables mean nothing to it.
//
// # Settings
//
//	command   starts the program, in place of the Procfile's web line
//	root      the served folder of a static site
package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/gostratos/stratos/cartridge"
)

// Type is the cartridge "proc".
type Type struct{}

var _ cartridge.Type = Type{}

// Name returns "proc".
func (Type) Name() string { return "proc" }

// Plan returns how to run the release.
func (Type) Plan(in cartridge.Input) (cartridge.Plan, error) {
	if err := check(in); err != nil {
		return cartridge.Plan{}, err
	}
	lines, err := commands(in)
	if err != nil {
		return cartridge.Plan{}, err
	}
	r := &release{FS: in.Release, commanded: len(lines) > 0, root: in.Settings["root"]}
	found, err := r.detect()
	if err != nil {
		return cartridge.Plan{}, err
	}
	if r.root != "" && (len(lines) > 0 || found.static == nil) {
		return cartridge.Plan{}, errors.New("setting root: only a static site has one, and here a program runs: remove the setting")
	}
	p := cartridge.Plan{
		V:         cartridge.PlanVersion,
		Cartridge: "proc",
		Build:     found.build,
		Ports:     []cartridge.Port{{Name: "http", Protocol: "http"}},
		Health:    cartridge.Health{Kind: cartridge.HealthHTTP, Port: "http", Path: "/"},
	}
	switch {
	case len(lines) > 0:
	case found.command != "":
		lines = []line{{"web", found.command}}
	case found.static != nil:
		static(&p, *found.static)
		return p, nil
	default:
		return p, errors.New("nothing to run was found: add a Procfile with a line like \"web: ./server\", or set the setting command; the program has to listen on 127.0.0.1:$PORT")
	}
	p.Programs = found.programs
	env := environment(found.env, in.Env)
	for _, l := range lines {
		p.Processes = append(p.Processes, cartridge.Process{
			Name: l.name,
			Args: []string{"/bin/sh", "-c", cartridge.Literal(script(found.path, l.command))},
			Env:  maps.Clone(env),
		})
	}
	return p, nil
}

// check refuses settings and variables that would do nothing, or harm.
func check(in cartridge.Input) error {
	for _, k := range slices.Sorted(maps.Keys(in.Settings)) {
		if k != "command" && k != "root" {
			return fmt.Errorf("setting %s: proc knows command and root", k)
		}
	}
	if root := in.Settings["root"]; root != "" {
		if err := cartridge.CheckRoot(root); err != nil {
			return err
		}
	}
	if _, ok := in.Env["PORT"]; ok {
		return errors.New("env PORT: the platform chooses the port: remove the variable")
	}
	return cartridge.CheckEnv(in.Env)
}

// commands returns what the setting and the Procfile say to run.
func commands(in cartridge.Input) ([]line, error) {
	var lines []line
	b, err := fs.ReadFile(in.Release, "Procfile")
	switch {
	case err == nil:
		if lines, err = parseProcfile(string(b)); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the Procfile: %w", err)
	}
	isWeb := func(l line) bool { return l.name == "web" }
	if c := in.Settings["command"]; c != "" {
		if err := checkCommand(c); err != nil {
			return nil, fmt.Errorf("setting command: %w", err)
		}
		lines = slices.Insert(slices.DeleteFunc(lines, isWeb), 0, line{"web", c})
	}
	if len(lines) > 0 && !slices.ContainsFunc(lines, isWeb) {
		return nil, errors.New("Procfile has no web line: add one like \"web: ./server\", whose program listens on 127.0.0.1:$PORT")
	}
	return lines, nil
}

// environment is the variables of every process: ours, then the tenant's.
func environment(found, user map[string]string) map[string]string {
	env := map[string]string{"DATA_DIR": "{{.Data}}", "HOST": "127.0.0.1"}
	maps.Copy(env, found)
	for k, v := range user {
		env[k] = cartridge.Literal(v)
	}
	return env
}
