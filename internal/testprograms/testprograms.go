// Package testprograms finds the programs that tests need and the project does
// not link: real servers, built by the set-up into bin/test.
package testprograms

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Find returns the path of the program name. The repository is the first
// folder at or above the working directory that has a go.mod.
func Find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in any folder above: run this inside the repository")
		}
		dir = parent
	}
	path := filepath.Join(dir, "bin", "test", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the program %s is missing, run `make test-programs`: %w", name, err)
	}
	return path, nil
}

// Path is Find for tests, which fail if there is no such program.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
