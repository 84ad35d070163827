package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxPadding is how much may follow the end of a tar: its last record.
const maxPadding = 1 << 20

// maxName is the longest name of an entry, bytes: what a path may have on Linux.
const maxName = 4096

// Unpack makes in dir, which exists and is empty, what the tar holds. Absolute
// names, "..", links that leave dir, hard links, devices, setuid files,
// entries that stand twice or below a file or a link, and more than the limits
// allow are errors that wrap ErrRefused and name the entry. Owners and times
// are ignored; modes become 0644 or 0755. r is read to its end, so a reader
// that verifies has seen everything. After an error what is in dir is worthless.
func Unpack(r io.Reader, dir string, l Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	u := unpacker{root: root, quota: l.Quota(), dirs: map[string]bool{".": true}}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return drain(r)
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

// drain reads what follows the tar.
func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxPadding+1))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if n > maxPadding {
		return fmt.Errorf("unpack: the archive is %w: it goes on after its end", ErrRefused)
	}
	return nil
}

type unpacker struct {
	root  *os.Root
	quota *Quota
	dirs  map[string]bool // the folders made so far: never a link
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment: git archive writes the commit into one
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		return refuse(name, "it is setuid or setgid")
	}
	if h.Typeflag == tar.TypeDir {
		return u.mkdir(name)
	}
	if name == "." {
		return refuse(h.Name, "only a folder can have this name")
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.quota.Add(name, max(h.Size, 0)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		if err := CheckLink(name, h.Linkname); err != nil {
			return err
		}
		return u.made(name, u.root.Symlink(h.Linkname, name))
	}
	return refuse(name, "entries of type %q are not unpacked, only files, folders and symbolic links", h.Typeflag)
}

// cleanName checks an entry's name and returns it in its shortest form.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", refuse(name[:64]+"...", "its name has more than %d bytes", maxName)
	}
	clean := path.Clean(name)
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "", refuse(name, "it has no usable name")
	case slices.Contains(strings.Split(name, "/"), ".."), !filepath.IsLocal(clean):
		return "", refuse(name, "the name leads out of the folder")
	}
	return clean, nil
}

// mkdir makes a folder and those above it, unless they were made before.
func (u *unpacker) mkdir(name string) error {
	if u.dirs[name] {
		return nil
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.quota.Add(name, 0); err != nil {
		return err
	}
	if err := u.made(name, u.root.Mkdir(name, execMode)); err != nil {
		return err
	}
	u.dirs[name] = true
	return u.root.Chmod(name, execMode) // whatever the umask is
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	mode := modeOf(h.FileInfo().Mode())
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err := u.made(name, err); err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask is
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
	}
	return nil
}

// made gives the error of making an entry its name.
func (u *unpacker) made(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return refuse(name, "it stands twice in the archive, or dir was not empty")
	}
	return fmt.Errorf("unpack %q: %w", name, err)
}
