package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// data checks the data folder, its disk, and whether a platform runs on it.
func (d *Doctor) data() (found []Finding, running bool) {
	dir, err := existing(d.Dir)
	if err == nil {
		err = tryWriting(dir)
	}
	if err != nil {
		return []Finding{{Check: "data folder", Status: Fail, Detail: err.Error(), Cure: "choose a folder that you may write to: --dir here, dir in the configuration"}}, false
	}
	f := Finding{Check: "data folder", Status: OK, Detail: d.Dir + " can be written to"}
	if dir != filepath.Clean(d.Dir) {
		f.Detail = d.Dir + " is not there, and can be made"
	}
	running, err = inUse(filepath.Join(d.Dir, "stratos.db"))
	switch {
	case err != nil:
		f = Finding{Check: "data folder", Status: Fail, Detail: err.Error(), Cure: "become the user whose folder it is, or choose another folder"}
	case running:
		f.Detail = d.Dir + " is in use: a platform runs on it"
	}
	found = append(found, f)
	free, err := freeSpace(dir)
	if err != nil {
		return append(found, Finding{Check: "disk", Status: Warn, Detail: "what is free is not known: " + err.Error(), Cure: "see df " + dir}), running
	}
	return append(found, space(free)), running
}

// existing returns the folder, or the nearest one above it that is there.
func existing(dir string) (string, error) {
	dir = filepath.Clean(dir)
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a folder", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// tryWriting makes a file, writes it to the disk, and removes it.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".stratos-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("a look at this folder\n")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// inUse reports whether a process has the store open. It asks for a lock that
// others may have too, for an instant: a platform that starts just now waits
// longer than that.
func inUse(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() // and with it goes the lock
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
