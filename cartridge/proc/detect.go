package proc

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gostratos/stratos/cartridge"
)

// release is what is looked through.
type release struct {
	fs.FS
	commanded bool   // the tenant said what to run
	root      string // the setting
}

// finding is what a kind of project needs.
type finding struct {
	build    []cartridge.Command
	programs []cartridge.Program
	path     []string          // folders for PATH, relative to the release
	env      map[string]string // templates
	command  string            // for sh; empty: it cannot be told, or static
	static   *string           // the served folder of a static site
}

// detect asks each kind of project in turn.
func (r *release) detect() (finding, error) {
	for _, kind := range []func() (*finding, error){r.golang, r.node, r.python, r.ruby, r.static} {
		f, err := kind()
		if err != nil {
			return finding{}, err
		}
		if f != nil {
			return *f, nil
		}
	}
	return finding{}, nil
}

// has reports whether there is a regular file of this name. What cannot be
// looked at is not there; reading it later says why.
func (r *release) has(name string) bool {
	info, err := fs.Stat(r.FS, name)
	return err == nil && info.Mode().IsRegular()
}

func (r *release) hasDir(name string) bool {
	info, err := fs.Stat(r.FS, name)
	return err == nil && info.IsDir()
}

// firstOf returns the first of the files that is there, or "".
func (r *release) firstOf(names ...string) string {
	for _, n := range names {
		if r.has(n) {
			return n
		}
	}
	return ""
}

// read returns a file's text, "" if there is none.
func (r *release) read(name string) (string, error) {
	b, err := fs.ReadFile(r.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return string(b), nil
}
