package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// link makes the folders of the plan's volumes, and the links that lead to them
// from the release. The volumes are held. Doing it again changes nothing.
func (s *slot) link() error {
	for _, v := range s.plan.Volumes {
		for _, d := range v.Dirs {
			if err := makeIn(s.volumes.path(v.Name), d); err != nil {
				return err
			}
		}
	}
	for _, l := range s.plan.Links {
		if err := makeIn(s.volumes.path(l.Volume), l.Dir); err != nil {
			return err
		}
		if err := linkFrom(s.release, l.Path, filepath.Join(s.volumes.path(l.Volume), l.Dir)); err != nil {
			return err
		}
	}
	return nil
}

// makeIn makes a folder below another, and follows no link out of it.
func makeIn(top, dir string) (err error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return root.MkdirAll(dir, 0o700)
}

// linkFrom makes path, in a release that is read-only, a link to a folder.
func linkFrom(release, path, to string) (err error) {
	if at, err := os.Readlink(filepath.Join(release, path)); err == nil && at == to {
		return nil
	}
	root, err := os.OpenRoot(release)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	closed, err := openUp(root, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	if err := removeTree(filepath.Join(release, path)); err != nil {
		return err
	}
	return root.Symlink(to, path)
}

// openUp makes a folder of a release, and those on the way, writable to their
// owner, until closed is called. They are made where they are not there.
func openUp(root *os.Root, dir string) (closed func() error, err error) {
	before := map[string]fs.FileMode{}
	closed = func() error {
		var errs []error
		for d, mode := range before {
			errs = append(errs, root.Chmod(d, mode))
		}
		return errors.Join(errs...)
	}
	at := "."
	for _, name := range append([]string{"."}, parts(dir)...) {
		if at = filepath.Join(at, name); at != "." {
			if err := root.Mkdir(at, 0o555); err != nil && !errors.Is(err, fs.ErrExist) {
				return closed, errors.Join(err, closed())
			}
		}
		info, err := root.Stat(at)
		if err == nil {
			before[at] = info.Mode().Perm()
			err = root.Chmod(at, 0o700)
		}
		if err != nil {
			return closed, errors.Join(err, closed())
		}
	}
	return closed, nil
}

// parts are the names on the way to a folder.
func parts(dir string) []string {
	if dir == "." {
		return nil
	}
	return append(parts(filepath.Dir(dir)), filepath.Base(dir))
}
