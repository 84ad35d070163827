package cartridgetest_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/cartridgetest"
)

// site is the reference: it keeps every promise, unless change breaks one.
type site struct {
	name   string
	change func(cartridge.Input, *cartridge.Plan)
	empty  bool // plans an empty release, too
}

var _ cartridge.Type = site{}

func (s site) Name() string { return "site" + s.name }

func (s site) Plan(in cartridge.Input) (cartridge.Plan, error) {
	if _, err := fs.Stat(in.Release, "index.html"); err != nil && !s.empty {
		return cartridge.Plan{}, errors.New("add an index.html")
	}
	// With its header, the answer lasts for one or two seconds at this rate.
	web := cartridge.Nginx{Server: "\t\tlocation = /slow { limit_rate 500; }\n"}
	p := cartridge.Plan{
		V: cartridge.PlanVersion, Cartridge: s.Name(),
		Programs:  []cartridge.Program{web.Program()},
		Ports:     []cartridge.Port{{Name: "http"}},
		Dirs:      web.Dirs(),
		Files:     []cartridge.File{web.File()},
		Processes: []cartridge.Process{web.Process()},
		Stop:      cartridge.Stop{Signal: "QUIT"},
	}
	p.Processes[0].Env = map[string]string{}
	for k, v := range in.Env {
		p.Processes[0].Env[k] = cartridge.Literal(v)
	}
	if s.change != nil {
		s.change(in, &p)
	}
	return p, nil
}

func reference() cartridgetest.Case {
	return cartridgetest.Case{
		Files: map[string]string{"index.html": "home", "slow": strings.Repeat("x", 500) + " done"},
		Env:   map[string]string{"A": "1"},
		Want:  map[string]string{"/": "home"},
		Slow:  "/slow",
	}
}

func TestReferenceKeepsAllPromises(t *testing.T) { cartridgetest.Run(t, site{}, reference()) }

// first has sh run a command before nginx.
func first(command string) func(cartridge.Input, *cartridge.Plan) {
	return func(_ cartridge.Input, p *cartridge.Plan) {
		p.Processes[0].Args = append([]string{"/bin/sh", "-c", command + ` && exec "$0" "$@"`}, p.Processes[0].Args...)
	}
}

func edit(old, text string) func(cartridge.Input, *cartridge.Plan) {
	return func(_ cartridge.Input, p *cartridge.Plan) {
		p.Files[0].Content = strings.Replace(p.Files[0].Content, old, text, 1)
	}
}

// mutants break one promise each, by its name and a word.
func mutants() map[string]site {
	var calls atomic.Int64
	return map[string]site{
		"NameIsValid":      {name: "X"},
		"PlanChecks":       {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Health.Port = "x" }},
		"PlanSurvivesJSON": {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Files[0].Content += "#\xff" }},
		"PlanIsDeterministic": {change: func(_ cartridge.Input, p *cartridge.Plan) {
			p.Stop.Grace = time.Duration(calls.Add(1)) * time.Second
		}},
		"ReadsOnlyInput": {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Processes[0].Env["H"] = os.Getenv("HOME") }},
		"LeavesInputAlone": {change: func(in cartridge.Input, p *cartridge.Plan) {
			p.Processes[0].Env = in.Env
		}},
		"UserEnvIsLiteral":        {change: func(in cartridge.Input, p *cartridge.Plan) { maps.Copy(p.Processes[0].Env, in.Env) }},
		"UserEnvIsLiteral/passed": {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Processes[0].Env = nil }},
		"BadReleaseIsNoPanic": {empty: true, change: func(in cartridge.Input, p *cartridge.Plan) {
			if _, err := fs.Stat(in.Release, "index.html"); err != nil {
				p.Processes = nil
			}
		}},
		"ComesUp":                {change: edit(`root "{{.Release}}"`, `root "{{.Dir}}"`)},
		"ComesUp/at all":         {change: edit("daemon off;", "nonsense;")},
		"ListensOnlyOnLoopback":  {change: edit("listen 127.0.0.1:", "listen 0.0.0.0:")},
		"ListensOnlyOnLoopback/": {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Ports = append(p.Ports, cartridge.Port{Name: "x"}) }},
		"LeavesReleaseAlone": {change: func(_ cartridge.Input, p *cartridge.Plan) {
			// The release is written to after the runtime is up.
			p.Processes = append(p.Processes, cartridge.Process{Name: "w", Args: []string{"/bin/sh", "-c", "trap 'touch stopped; exit' QUIT; while :; do sleep 0.01; done"}})
		}},
		"RunsBesideItself":      {change: first(`mkdir "{{.Data}}/lock"`)},
		"StartsAgainAfterCrash": {change: first(`mkdir "{{.Dir}}/lock"`)},
		"StopsGracefully":       {change: func(_ cartridge.Input, p *cartridge.Plan) { p.Stop.Signal = "TERM" }}, // cuts answers
		"StopsGracefully/in time": {change: func(_ cartridge.Input, p *cartridge.Plan) {
			p.Processes = append(p.Processes, cartridge.Process{Name: "w", Args: []string{"/bin/sh", "-c", "trap '' QUIT; sleep 600"}})
			p.Stop.Grace = 100 * time.Millisecond
		}},
		"RunsUnprivileged": {change: first(`[ "$(id -u)" = 0 ]`)},
	}
}

const mutantEnv = "CARTRIDGETEST_MUTANT"

// TestMutant is run by TestKitSeesMutants in a process of its own.
func TestMutant(t *testing.T) {
	name, ok := os.LookupEnv(mutantEnv)
	if !ok {
		return
	}
	cartridgetest.Run(t, mutants()[name], reference())
}

// TestKitSeesMutants: a kit that never fails proves nothing.
func TestKitSeesMutants(t *testing.T) {
	for name := range mutants() {
		promise, _, _ := strings.Cut(name, "/")
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutant$/^"+promise+"$", "-test.v")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the kit saw nothing\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestMutant/"+promise)
		})
	}
}
