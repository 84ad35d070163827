// Package mutation shows that tests can fail: it breaks the code in one way, runs
// the tests that should notice, and wants them red.
//
// The code on disk is not touched: the go command is given an overlay with
// patched copies. A patch names the text it replaces, which must be there
// exactly once, so that a mutation whose code has moved fails and says so.
package mutation

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Edit replaces Old, which stands exactly once in File, by New.
type Edit struct {
	File     string // relative to the test's folder
	Old, New string
}

// Mutation is one way to break the code, and the tests that notice it.
type Mutation struct {
	Name    string
	Edits   []Edit
	Package string   // of the tests, as for go test. Default: that of the test's folder
	Run     string   // the tests, as for go test -run
	Env     []string // more environment for them
}

// Expect runs the tests on the broken code, and fails if they pass. A broken
// code that does not compile is a failure, too.
func Expect(t *testing.T, m Mutation) {
	t.Helper()
	out, err := run(t, m)
	require.Error(t, err, "%s: no test noticed", m.Name)
	require.Contains(t, out, "--- FAIL: ", "%s: the tests did not run", m.Name)
}

// Survives runs the tests on the changed code, and fails if they do: the
// control for what a mutation changes besides.
func Survives(t *testing.T, m Mutation) {
	t.Helper()
	out, err := run(t, m)
	require.NoError(t, err, "%s: %s", m.Name, out)
}

func run(t *testing.T, m Mutation) (string, error) {
	t.Helper()
	pkg := m.Package
	if pkg == "" {
		pkg = "."
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", overlay(t, m), "-run", m.Run, pkg)
	cmd.Env = append(os.Environ(), m.Env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// overlay writes the patched copies, and the file that tells the go command of them.
func overlay(t *testing.T, m Mutation) string {
	t.Helper()
	dir := t.TempDir()
	patched := map[string]string{}
	for _, e := range m.Edits {
		file, err := filepath.Abs(e.File)
		require.NoError(t, err)
		from := file
		if copied, ok := patched[file]; ok {
			from = copied
		}
		code, err := os.ReadFile(from)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(code), e.Old), "%s: the code moved: %s has to have this once:\n%s", m.Name, e.File, e.Old)
		patched[file] = filepath.Join(dir, filepath.Base(file))
		require.NoError(t, os.WriteFile(patched[file], []byte(strings.Replace(string(code), e.Old, e.New, 1)), 0o600))
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": patched})
	require.NoError(t, err)
	name := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(name, list, 0o600))
	return name
}
