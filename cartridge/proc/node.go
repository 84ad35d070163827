package proc

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gostratos/stratos/cartridge"
)

// packageJSON is what we read of package.json.
type packageJSON struct {
	Main            string            `json:"main"`
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
}

// node runs the start script without npm, which takes 40 MB, half a second,
// and the signals that are meant for the program.
func (r *release) node() (*finding, error) {
	text, err := r.read("package.json")
	if err != nil || text == "" {
		return nil, err
	}
	var pkg packageJSON
	if err := json.Unmarshal([]byte(text), &pkg); err != nil {
		return nil, fmt.Errorf("package.json: %w", err)
	}
	f := &finding{
		programs: []cartridge.Program{{Names: []string{"node", "nodejs"}, Package: "nodejs"}},
		path:     []string{"node_modules/.bin"},
		env:      map[string]string{"NODE_ENV": "production"},
	}
	if f.build, err = r.npm(pkg); err != nil {
		return nil, err
	}
	if r.commanded {
		return f, nil
	}
	file := pkg.Main
	if file == "" || !r.has(file) {
		file = r.firstOf("server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs")
	}
	switch {
	case pkg.Scripts["start"] != "":
		f.command = pkg.Scripts["start"]
		return f, checkCommand(f.command)
	case r.root != "" || file == "" && r.has("index.html") && pkg.Scripts["build"] == "":
		return r.site(f.build), nil
	case file != "":
		f.command = "node " + quote(file)
		return f, checkCommand(file)
	}
	return nil, errors.New(`package.json says not how to start: add "scripts": {"start": "node server.js"}; for a site that a build makes, set the setting root to its folder`)
}

// npm installs the dependencies and runs the build script.
func (r *release) npm(pkg packageJSON) ([]cartridge.Command, error) {
	npm := func(args ...string) cartridge.Command {
		return cartridge.Command{Args: append([]string{"npm"}, args...), Package: "npm"}
	}
	building := pkg.Scripts["build"] != ""
	locked := r.firstOf("package-lock.json", "npm-shrinkwrap.json") != ""
	if n := len(pkg.Dependencies) + len(pkg.DevDependencies); n > 0 && !locked && !r.hasDir("node_modules") {
		other := r.firstOf("yarn.lock", "pnpm-lock.yaml")
		if other == "" {
			other = "no package-lock.json"
		}
		return nil, fmt.Errorf("package.json has dependencies and %s, so that each build could install others: run npm install --package-lock-only and commit package-lock.json", other)
	}
	var build []cartridge.Command
	install := locked && (len(pkg.Dependencies) > 0 || building && len(pkg.DevDependencies) > 0)
	switch {
	case install && building:
		build = append(build, npm("ci", "--no-audit", "--no-fund"))
	case install:
		build = append(build, npm("ci", "--no-audit", "--no-fund", "--omit=dev"))
	}
	if building {
		build = append(build, npm("run", "build"))
	}
	if install && building {
		build = append(build, npm("prune", "--no-audit", "--no-fund", "--omit=dev"))
	}
	return build, nil
}
