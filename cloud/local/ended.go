package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// errEnded says that a token's instance was terminated.
var errEnded = errors.New("the instance has ended")

// endedFor is how long an ended token is known: far longer than a late call
// can be on its way.
const endedFor = 24 * time.Hour

func endedPath(root string, f folder) string { return filepath.Join(root, "ended", f.name()) }

// writeEnded remembers that the token's instance was terminated, so that a
// Launch that comes late does not make a second one.
func writeEnded(root string, f folder, token string) error {
	w, err := os.CreateTemp(filepath.Join(root, "tmp"), f.name()+".token.")
	if err != nil {
		return err
	}
	_, err = w.WriteString(token)
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(w.Name(), endedPath(root, f))
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.Name()))
	}
	return nil
}

func wasEnded(root string, f folder, token string) (bool, error) {
	b, err := os.ReadFile(endedPath(root, f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(b) == token, err
}

// forget removes old tokens, once an hour.
func (d *Driver) forget(now time.Time) {
	d.mu.Lock()
	root, due := d.root, now.Sub(d.pruned) >= time.Hour
	if due {
		d.pruned = now
	}
	d.mu.Unlock()
	if !due {
		return
	}
	dir := filepath.Join(root, "ended")
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if i, gone := e.Info(); gone != nil || now.Sub(i.ModTime()) < endedFor {
			continue
		}
		if gone := os.Remove(filepath.Join(dir, e.Name())); !errors.Is(gone, fs.ErrNotExist) { // another process is at it, too
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		d.log().Warn("forgetting ended instances", "err", err)
	}
}
