package rules_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/gostratos/stratos"

// root is the repository, as seen from this package.
const root = "../.."

// goPackage is what "go list" says of a package.
type goPackage struct {
	ImportPath, Dir, Name, Doc string
	GoFiles, Imports           []string
}

// short is the package's path in the module; "." is the root.
func (p goPackage) short() string { return short(p.ImportPath) }

func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// list runs "go list" in the repository.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Name,Doc,GoFiles,Imports"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

// textFiles calls do with every file that people write, by its path in the repository.
func textFiles(t *testing.T, do func(path, text string)) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if name == ".git" || name == "bin" || name == "testdata" || strings.HasSuffix(name, ".data") {
				return filepath.SkipDir
			}
			return nil
		}
		kinds := []string{".go", ".md", ".sh", ".yaml", ".yml", ".mod", ".php", ".py"}
		if !slices.Contains(kinds, filepath.Ext(name)) && name != "Makefile" && filepath.Base(filepath.Dir(path)) != ".ci" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		found++
		do(filepath.ToSlash(short), string(b))
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, found, 50, "hardly any file was looked at")
}
