package local

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gostratos/stratos/cloud"
)

var _ cloud.Located = (*Driver)(nil)

// Location is this machine, and the folder: a name that the folder is given at
// its first use, so that it is known wherever it is mounted.
func (d *Driver) Location() (string, error) {
	d.mu.Lock()
	root := d.root
	d.mu.Unlock()
	if root == "" {
		return "", errClosed
	}
	path := filepath.Join(root, "location")
	name, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		name, err = nameFolder(path)
	}
	if err != nil {
		return "", fmt.Errorf("the folder's name: %w", err)
	}
	machine, err := machineName()
	if err != nil {
		return "", err
	}
	return "folder " + string(bytes.TrimSpace(name)) + " of machine " + machine, nil
}

// nameFolder gives the folder its name; of several that do so at once, one wins.
func nameFolder(path string) ([]byte, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "location-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name()) // linked, or not needed
	_, err = tmp.WriteString(strings.ToLower(rand.Text()[:12]) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// machineName tells this machine from others.
func machineName() (string, error) {
	id, err := os.ReadFile("/etc/machine-id")
	if id = bytes.TrimSpace(id); err == nil && len(id) > 0 {
		return string(id[:min(len(id), 12)]), nil
	}
	return os.Hostname()
}
