package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Check refuses a folder that must not become a release: one with devices,
// sockets or pipes, with a symbolic link that leaves it, with a setuid or
// setgid file, or with more than the limits allow. Such an error wraps
// ErrRefused. Nobody may change the folder meanwhile.
func Check(dir string, l Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("check folder: %w", err)
	}
	defer root.Close()
	quota := l.Quota()
	return walk(root, func(e entry) error {
		return quota.Add(e.name, e.size())
	})
}

// Pack writes the files below dir to w, as a tar that depends on nothing but
// their names, contents, link targets and executable bits. What [Check]
// refuses, limits apart, is refused here too. Nobody may change the folder
// meanwhile. An error of w is returned as it is.
func Pack(dir string, w io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("pack folder: %w", err)
	}
	defer root.Close()
	tw := tar.NewWriter(w)
	err = walk(root, func(e entry) error { return e.write(root, tw) })
	if err != nil {
		return err
	}
	return tw.Close()
}

// entry is one file, folder or link of a walk.
type entry struct {
	name   string // slash-separated, relative
	info   fs.FileInfo
	target string // of a link
}

// walk visits everything below root in a fixed order, parents first, and
// refuses what a release must not hold.
func walk(root *os.Root, visit func(entry) error) error {
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{name: name, info: info}
		if err := e.check(root); err != nil {
			return err
		}
		return visit(e)
	})
}

// check refuses kinds of entries, and reads the target of a link.
func (e *entry) check(root *os.Root) (err error) {
	switch mode := e.info.Mode(); {
	case mode.IsDir():
		return nil
	case mode.IsRegular():
		if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return refuse(e.name, "it is setuid or setgid: take that bit away")
		}
		return nil
	case mode&fs.ModeSymlink != 0:
		if e.target, err = root.Readlink(e.name); err != nil {
			return err
		}
		return CheckLink(e.name, e.target)
	}
	return refuse(e.name, "it is neither a file, a folder nor a symbolic link: remove it")
}

// size is what the entry counts against the limit of bytes.
func (e *entry) size() int64 {
	if e.info.Mode().IsRegular() {
		return e.info.Size()
	}
	return 0
}

func (e *entry) write(root *os.Root, tw *tar.Writer) error {
	h := &tar.Header{Name: e.name, ModTime: time.Unix(0, 0)}
	switch mode := e.info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.name+"/", int64(execMode)
	case mode.IsRegular():
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, e.info.Size(), int64(modeOf(mode))
	default:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.target, int64(execMode)
	}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %q: %w", e.name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return e.copy(root, tw)
}

// copy writes the file's content, which must still have the size it had.
func (e *entry) copy(root *os.Root, tw *tar.Writer) error {
	f, err := root.Open(e.name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(tw, f)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.info.Size() {
		return fmt.Errorf("pack %q: it changed while it was read", e.name)
	}
	return err
}

// modeOf reduces a mode to the two that are kept.
func modeOf(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return execMode
	}
	return fileMode
}
