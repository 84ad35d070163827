package proc

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

// golang builds a Go module. Its programs are linked statically, so that they
// run on an instance that has no Go.
func (r *release) golang() (*finding, error) {
	if !r.has("go.mod") {
		return nil, nil
	}
	build := cartridge.Command{Env: map[string]string{"CGO_ENABLED": "0"}, Package: "golang"}
	if r.commanded {
		// The command says which program; all of them are built.
		build.Args = []string{"go", "build", "-trimpath", "-buildvcs=false", "-o", ".stratos/bin/", "./..."}
		return &finding{build: []cartridge.Command{build}, path: []string{".stratos/bin"}}, nil
	}
	pkg, err := r.mainPackage()
	if err != nil {
		return nil, err
	}
	build.Args = []string{"go", "build", "-trimpath", "-buildvcs=false", "-o", ".stratos/app", pkg}
	return &finding{build: []cartridge.Command{build}, command: "./.stratos/app"}, nil
}

// mainPackage returns the one to run: the root's, or the only one in cmd.
func (r *release) mainPackage() (string, error) {
	if r.isMain(".") {
		return ".", nil
	}
	entries, err := fs.ReadDir(r.FS, "cmd")
	if err != nil {
		entries = nil // no cmd
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() && r.isMain(path.Join("cmd", e.Name())) {
			found = append(found, "./cmd/"+e.Name())
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("go.mod is there, but no main package in the root or in cmd: add a Procfile with \"web: NAME\", the program's name")
	}
	return "", fmt.Errorf("go.mod is there, and several programs: %s: add a Procfile with \"web: %s\", or the name of another", strings.Join(found, ", "), path.Base(found[0]))
}

// isMain reports whether a folder holds a main package. A file with build
// constraints "ignore", as generators have, does not make one.
func (r *release) isMain(dir string) bool {
	names, err := fs.Glob(r.FS, path.Join(dir, "*.go"))
	if err != nil {
		return false
	}
	for _, n := range names {
		if strings.HasSuffix(n, "_test.go") {
			continue
		}
		b, err := fs.ReadFile(r.FS, n)
		if err != nil {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), n, b, parser.PackageClauseOnly|parser.ParseComments)
		if err == nil && f.Name.Name == "main" && !strings.Contains(string(b[:f.Package-1]), "//go:build ignore") {
			return true
		}
	}
	return false
}
