package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// output is a file that is made whole or not at all: under another name, in a
// folder of its own beside it, until it is finished.
type output struct {
	path  string
	part  string // its name until then; nobody else writes there
	force bool   // a file that is there is replaced
}

// newOutput says at once whether the file can be made.
func newOutput(path string, force bool) (*output, error) {
	o := &output{path: path, force: force}
	if err := o.check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	o.part = filepath.Join(dir, "part")
	return o, nil
}

// check refuses what may not be replaced.
func (o *output) check() error {
	info, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", o.path, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is there, and is no file: choose another name", o.path)
	case !o.force:
		return fmt.Errorf("%s is there, and is not overwritten: choose another name, or give --force", o.path)
	}
	return nil
}

// create opens the file under its other name.
func (o *output) create() (*os.File, error) {
	f, err := os.OpenFile(o.part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", o.path, err)
	}
	return f, nil
}

// finish closes f and, if it was written without an error, gives it its name.
func (o *output) finish(f *os.File, written error) error {
	if written != nil {
		return f.Close()
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return o.place()
}

// place gives the file, which is complete and on the disk, its name.
func (o *output) place() error {
	err := o.check()
	if err == nil {
		err = os.Rename(o.part, o.path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(o.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// discard removes what is left of it under its other name.
func (o *output) discard() { _ = os.RemoveAll(filepath.Dir(o.part)) } // a folder that nobody looks for
