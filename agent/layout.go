package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos/cartridge"
)

// layout is where a runtime finds its things, and on which ports.
type layout = cartridge.Vars

// layOut makes the runtime's folder anew, with what the plan puts into it.
func layOut(p cartridge.Plan, v layout) (err error) {
	if err := removeTree(v.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(v.Dir, "tmp"), 0o700); err != nil {
		return err
	}
	dir, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for _, d := range p.Dirs {
		if err := dir.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for _, f := range p.Files {
		if err := writeFile(dir, f); err != nil {
			return err
		}
	}
	data, err := os.OpenRoot(v.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	for _, d := range p.DataDirs {
		if err := data.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(dir *os.Root, f cartridge.File) error {
	mode := fs.FileMode(f.Mode) & fs.ModePerm
	if err := dir.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	if err := dir.WriteFile(f.Path, []byte(f.Content), 0o600); err != nil {
		return err
	}
	return dir.Chmod(f.Path, mode) // whatever the umask is
}
