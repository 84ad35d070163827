package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// executable is this program's file, also if it was replaced or deleted since
// (which "go run" does).
const executable = "/proc/self/exe"

// install copies this program to dir/<sha256>, unless it is there, and returns
// the path.
func install(ctx context.Context, dir string) (string, error) {
	r, err := os.Open(executable)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	path := filepath.Join(dir, hex.EncodeToString(h.Sum(nil)))
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return path, copyTo(r, dir, path)
}

// copyTo writes all of r to path by way of a temporary file in dir.
func copyTo(r io.Reader, dir, path string) error {
	w, err := os.CreateTemp(dir, newBinary+"*")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	err = errors.Join(err, w.Chmod(0o700), w.Sync(), w.Close())
	if err == nil {
		err = os.Rename(w.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.Name()))
	}
	return syncDir(dir)
}

// removeBinaries removes all copies but current and those that agents run.
func (d *Driver) removeBinaries(root, current string) error {
	used := map[string]bool{filepath.Base(current): true}
	folders, err := folders(root)
	if err != nil {
		return err
	}
	for _, f := range folders {
		p, _, err := f.agent()
		if err != nil {
			return fmt.Errorf("instance %s: %w", f.name(), err)
		}
		used[p.Binary] = true
	}
	entries, err := os.ReadDir(filepath.Join(root, "bin"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if used[e.Name()] || beingWritten(e, time.Now()) {
			continue
		}
		if err := os.Remove(filepath.Join(root, "bin", e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// newBinary begins the names of copies that are being made.
const newBinary = "new-"

// beingWritten reports whether an entry is a copy that another process may be
// making at this moment.
func beingWritten(e fs.DirEntry, now time.Time) bool {
	if !strings.HasPrefix(e.Name(), newBinary) {
		return false
	}
	i, err := e.Info()
	return err == nil && now.Sub(i.ModTime()) < 10*time.Minute
}
