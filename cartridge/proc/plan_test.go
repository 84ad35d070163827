package proc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
)

func release(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// run is what a plan does, in short: build commands, then processes.
func run(t *testing.T, p cartridge.Plan) (build, processes []string) {
	t.Helper()
	require.NoError(t, p.Check())
	for _, c := range p.Build {
		build = append(build, strings.Join(c.Args, " "))
		require.NotEmpty(t, c.Package, "what to install")
	}
	full, err := p.Expand(cartridge.Vars{Ports: map[string]int{"http": 80}, Release: "/rel", Dir: "/dir", Data: "/data"})
	require.NoError(t, err)
	for _, pr := range full.Processes {
		processes = append(processes, pr.Name+"="+pr.Args[len(pr.Args)-1])
	}
	return build, processes
}

func TestDetection(t *testing.T) {
	const (
		npmPath = `PATH="$PWD/node_modules/.bin:$PATH"; `
		pyPath  = `PATH="$PWD/.stratos/python/bin:$PATH"; `
		pip     = "python3 -m pip install --no-cache-dir --disable-pip-version-check --target .stratos/python -r requirements.txt"
	)
	for _, tt := range []struct {
		name      string
		files     map[string]string
		settings  map[string]string
		build     []string
		processes []string
		packages  []string
	}{
		{"Procfile", map[string]string{"Procfile": "# c\n\nweb: ./run {{x}} $PORT\r\nmail_queue:  a | b\n"}, nil,
			nil, []string{"web=exec ./run {{x}} $PORT", "mail-queue=a | b"}, nil},
		{"command", map[string]string{"x": ""}, map[string]string{"command": " ./x "},
			nil, []string{"web=exec ./x"}, nil},
		{"command before the Procfile", map[string]string{"Procfile": "w: b\nweb: a\n"}, map[string]string{"command": "c"},
			nil, []string{"web=exec c", "w=exec b"}, nil},
		{"go", map[string]string{"go.mod": "", "main.go": "package main"}, nil,
			[]string{"go build -trimpath -buildvcs=false -o .stratos/app ."}, []string{"web=exec ./.stratos/app"}, nil},
		{"go in cmd", map[string]string{"go.mod": "", "lib.go": "package lib", "gen.go": "//go:build ignore\n\npackage main", "x_test.go": "package main", "cmd/a/a.go": "// A.\npackage main"}, nil,
			[]string{"go build -trimpath -buildvcs=false -o .stratos/app ./cmd/a"}, []string{"web=exec ./.stratos/app"}, nil},
		{"go with a Procfile", map[string]string{"go.mod": "", "Procfile": "web: a"}, nil,
			[]string{"go build -trimpath -buildvcs=false -o .stratos/bin/ ./..."}, []string{`web=PATH="$PWD/.stratos/bin:$PATH"; exec a`}, nil},
		{"node's start script", map[string]string{"package.json": `{"scripts":{"start":"next start -p $PORT"}}`}, nil,
			nil, []string{"web=" + npmPath + "exec next start -p $PORT"}, []string{"nodejs"}},
		{"node's main file", map[string]string{"package.json": `{"main":"it's.js"}`, "it's.js": ""}, nil,
			nil, []string{"web=" + npmPath + `exec node 'it'\''s.js'`}, []string{"nodejs"}},
		{"node's usual file", map[string]string{"package.json": `{}`, "index.js": ""}, nil,
			nil, []string{"web=" + npmPath + "exec node 'index.js'"}, []string{"nodejs"}},
		{"node's dependencies", map[string]string{"package.json": `{"dependencies":{"a":"1"}}`, "package-lock.json": "{}", "app.js": ""}, nil,
			[]string{"npm ci --no-audit --no-fund --omit=dev"}, []string{"web=" + npmPath + "exec node 'app.js'"}, []string{"nodejs"}},
		{"node's build", map[string]string{"package.json": `{"devDependencies":{"a":"1"},"scripts":{"build":"x","start":"y"}}`, "package-lock.json": "{}"}, nil,
			[]string{"npm ci --no-audit --no-fund", "npm run build", "npm prune --no-audit --no-fund --omit=dev"}, []string{"web=" + npmPath + "exec y"}, []string{"nodejs"}},
		{"node's modules brought along", map[string]string{"package.json": `{"dependencies":{"a":"1"}}`, "node_modules/a/index.js": "", "app.js": ""}, nil,
			nil, []string{"web=" + npmPath + "exec node 'app.js'"}, []string{"nodejs"}},
		{"built site", map[string]string{"package.json": `{"devDependencies":{"a":"1"},"scripts":{"build":"x"}}`, "package-lock.json": "{}", "index.html": ""}, map[string]string{"root": "dist"},
			[]string{"npm ci --no-audit --no-fund", "npm run build", "npm prune --no-audit --no-fund --omit=dev"}, []string{"nginx=/dir/nginx.conf"}, []string{"nginx-light"}},
		{"site with a package.json", map[string]string{"package.json": `{}`, "index.html": ""}, nil,
			nil, []string{"nginx=/dir/nginx.conf"}, []string{"nginx-light"}},
		{"python", map[string]string{"main.py": ""}, nil,
			nil, []string{"web=exec python3 main.py"}, []string{"python3"}},
		{"gunicorn", map[string]string{"requirements.txt": "# c\nFlask==2 # d\nGunicorn[x]>=1 ; python_version > '3'\n", "wsgi.py": "application = 1\n"}, nil,
			[]string{pip}, []string{"web=" + pyPath + "exec python3 -m gunicorn --bind 127.0.0.1:$PORT 'wsgi:application'"}, []string{"python3"}},
		{"uvicorn", map[string]string{"requirements.txt": "uvicorn\n", "main.py": "app = 1"}, nil,
			[]string{pip}, []string{"web=" + pyPath + "exec python3 -m uvicorn --host 127.0.0.1 --port $PORT 'main:app'"}, []string{"python3"}},
		{"django", map[string]string{"requirements.txt": "gunicorn\n", "manage.py": "", "shop/wsgi.py": "application = 1"}, nil,
			[]string{pip}, []string{"web=" + pyPath + "exec python3 -m gunicorn --bind 127.0.0.1:$PORT 'shop.wsgi:application'"}, []string{"python3"}},
		{"ruby", map[string]string{"app.rb": ""}, nil,
			nil, []string{"web=exec ruby app.rb"}, []string{"ruby"}},
		{"rack", map[string]string{"config.ru": ""}, nil,
			nil, []string{"web=exec rackup --host 127.0.0.1 --port $PORT config.ru"}, []string{"ruby", "ruby-rack"}},
		{"puma", map[string]string{"config.ru": "", "Gemfile": "", "Gemfile.lock": "GEM\n  specs:\n    puma (5.6)\n"}, nil,
			[]string{"bundle install"}, []string{"web=exec bundle exec puma --bind tcp://127.0.0.1:$PORT config.ru"}, []string{"ruby", "ruby-bundler"}},
		{"site", map[string]string{"index.html": ""}, nil, nil, []string{"nginx=/dir/nginx.conf"}, []string{"nginx-light"}},
		{"site in public", map[string]string{"public/index.html": ""}, nil, nil, []string{"nginx=/dir/nginx.conf"}, []string{"nginx-light"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := proc.Type{}.Plan(cartridge.Input{Release: release(tt.files), Settings: tt.settings})
			require.NoError(t, err)
			build, processes := run(t, p)
			require.Equal(t, tt.build, build)
			require.Equal(t, tt.processes, processes)
			var packages []string
			for _, g := range p.Programs {
				packages = append(packages, g.Package)
			}
			require.Equal(t, tt.packages, packages)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    map[string]string
		settings map[string]string
		env      map[string]string
		want     string
	}{
		{"nothing", map[string]string{"README.md": ""}, nil, nil, "add a Procfile"},
		{"empty Procfile", map[string]string{"Procfile": "# nothing\n"}, nil, nil, "Procfile is empty"},
		{"no web", map[string]string{"Procfile": "worker: x"}, nil, nil, "no web line"},
		{"no colon", map[string]string{"Procfile": "web: x\nworker"}, nil, nil, "Procfile, line 2: has no colon"},
		{"no command", map[string]string{"Procfile": "web:  "}, nil, nil, "Procfile, line 1: the command is empty"},
		{"bad name", map[string]string{"Procfile": "We b: x"}, nil, nil, "no name"},
		{"name twice", map[string]string{"Procfile": "web: x\nweb: y"}, nil, nil, "line 2: \"web\" is there twice"},
		{"release command", map[string]string{"Procfile": "web: x\nrelease: y"}, nil, nil, "release command"},
		{"not text", map[string]string{"Procfile": "web: \xff"}, nil, nil, "UTF-8"},
		{"blank command", map[string]string{"x": ""}, map[string]string{"command": "  "}, nil, "setting command"},
		{"unknown setting", map[string]string{"x": ""}, map[string]string{"cmd": "x"}, nil, "proc knows command and root"},
		{"root that leaves", map[string]string{"index.html": ""}, map[string]string{"root": ".."}, nil, "setting root"},
		{"root that is not there", map[string]string{"index.html": ""}, map[string]string{"root": "www"}, nil, `no folder "www"`},
		{"root of a program", map[string]string{"app.py": ""}, map[string]string{"root": "x"}, nil, "only a static site"},
		{"port", map[string]string{"index.html": ""}, nil, map[string]string{"PORT": "1"}, "remove the variable"},
		{"variable", map[string]string{"index.html": ""}, nil, map[string]string{"A=": "1"}, "no name of a variable"},
		{"go without a program", map[string]string{"go.mod": "", "x.go": "package x"}, nil, nil, "no main package"},
		{"go with several", map[string]string{"go.mod": "", "cmd/a/a.go": "package main", "cmd/b/b.go": "package main"}, nil, nil, "./cmd/a, ./cmd/b"},
		{"broken package.json", map[string]string{"package.json": "{"}, nil, nil, "package.json"},
		{"node without a start", map[string]string{"package.json": "{}"}, nil, nil, "how to start"},
		{"node without a lock file", map[string]string{"package.json": `{"dependencies":{"a":"1"}}`, "app.js": ""}, nil, nil, "package-lock.json"},
		{"node of yarn", map[string]string{"package.json": `{"dependencies":{"a":"1"}}`, "app.js": "", "yarn.lock": ""}, nil, nil, "yarn.lock"},
		{"python without a program", map[string]string{"requirements.txt": "flask"}, nil, nil, "neither app.py"},
		{"python without a server", map[string]string{"wsgi.py": "app = 1"}, nil, nil, "add gunicorn"},
		{"ruby without a lock file", map[string]string{"Gemfile": "", "config.ru": ""}, nil, nil, "Gemfile.lock"},
		{"ruby without a program", map[string]string{"Gemfile": "", "Gemfile.lock": "x"}, nil, nil, "neither config.ru"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := proc.Type{}.Plan(cartridge.Input{Release: release(tt.files), Settings: tt.settings, Env: tt.env})
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestCommandsThatAreNotReplaced(t *testing.T) {
	for command, want := range map[string]string{
		"./a && ./b":       "./a && ./b",
		"cd x":             "cd x",
		"exec ./a":         "exec ./a",
		"A=1 B=2 ./a":      "exec env A=1 B=2 ./a",
		"=x":               "exec =x",
		"1A=x":             "exec 1A=x",
		"(./a)":            "(./a)",
		"./a\t$PORT  --x ": "exec ./a\t$PORT  --x",
	} {
		t.Run(command, func(t *testing.T) {
			p, err := proc.Type{}.Plan(cartridge.Input{Release: release(nil), Settings: map[string]string{"command": command}})
			require.NoError(t, err)
			_, processes := run(t, p)
			require.Equal(t, []string{"web=" + want}, processes)
		})
	}
}

// FuzzProcfile: what is accepted makes a plan that an agent can execute, and
// the command reaches the shell as it was written.
func FuzzProcfile(f *testing.F) {
	for _, s := range []string{"web: x", "web: {{.Dir}}\nw:{", "web:exec", ": x", "web: \x00", "\ufeffweb: x", "web: a\u2028b", "web: ="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := proc.Type{}.Plan(cartridge.Input{Release: release(map[string]string{"Procfile": text})})
		if err != nil {
			return
		}
		_, processes := run(t, p)
		for _, pr := range processes {
			_, command, _ := strings.Cut(pr, "=")
			command = strings.TrimPrefix(strings.TrimPrefix(command, "exec "), "env ")
			if !strings.Contains(text, command) {
				t.Fatalf("%q is not in %q", command, text)
			}
		}
	})
}

func Example() {
	p, err := proc.Type{}.Plan(cartridge.Input{
		Release: fstest.MapFS{"Procfile": {Data: []byte("web: ./server -listen 127.0.0.1:$PORT\nworker: ./worker\n")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, pr := range p.Processes {
		fmt.Println(pr.Name, pr.Args)
	}
	// Output:
	// web [/bin/sh -c exec ./server -listen 127.0.0.1:$PORT]
	// worker [/bin/sh -c exec ./worker]
}
