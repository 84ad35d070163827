package agent

import (
	"io/fs"
	"os"
	"path/filepath"
)

// removeTree removes a folder, also one that holds read-only folders.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	// Only the second attempt counts: this one may meet what is gone meanwhile.
	if err := chmodDirs(dir, 0o700); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(dir)
}

// chmodDirs gives dir and every folder below it a mode.
func chmodDirs(dir string, mode fs.FileMode) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// chmodTree takes bits away from the mode of everything in dir that is not a link.
func chmodTree(dir string, without fs.FileMode) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()&^without)
	})
}
