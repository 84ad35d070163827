package artifact

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/gostratos/stratos/artifact/archive"
)

// Bounds of what is read into memory, bytes.
const (
	maxPath   = 4096 // of a file in a commit, and of a link's target
	maxLFS    = 1024 // a pointer is smaller
	lfsHeader = "version https://git-lfs.github.com/spec/v1\n"
)

// damagedError says that objects could not be read, not that they are missing
// at the remote or that the files could not be written.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return "repository is damaged: " + e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// export writes the files of a commit into a folder.
type export struct {
	ctx     context.Context
	objects storer.EncodedObjectStorer
	root    *os.Root
	quota   *archive.Quota
	sums    map[plumbing.Hash]sum // of the trees that were added up
}

// exportCommit writes the files of commit into dir, which is empty. What cannot
// be released is an error that wraps ErrRelease, what cannot be read a *damagedError.
func exportCommit(ctx context.Context, objects storer.EncodedObjectStorer, commit plumbing.Hash, dir string, l archive.Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return &damagedError{err}
	}
	x := &export{ctx: ctx, objects: objects, root: root, quota: l.Quota(), sums: map[plumbing.Hash]sum{}}
	all, err := x.sum(c.TreeHash, 0)
	if err != nil {
		return err
	}
	if err := l.Check(all.files, all.bytes); err != nil {
		return fmt.Errorf("%w: %w", ErrRelease, err)
	}
	return x.tree(c.TreeHash, "")
}

// sum is how much a tree holds, with all below it, as far as it can be counted.
type sum struct {
	files int
	bytes int64
}

func (s *sum) add(o sum) {
	s.files = min(s.files+o.files, math.MaxInt32)
	s.bytes = min(s.bytes+o.bytes, math.MaxInt64/2)
}

// sum adds a tree up without writing anything: a few small trees that name each
// other can stand for any number of files. Each is read once.
func (x *export) sum(h plumbing.Hash, depth int) (total sum, err error) {
	if s, ok := x.sums[h]; ok || depth > maxPath/2 { // deeper paths are too long
		return s, nil
	}
	if err := x.ctx.Err(); err != nil {
		return total, err
	}
	t, err := object.GetTree(x.objects, h)
	if err != nil {
		return total, &damagedError{err}
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		s := sum{files: 1}
		switch e.Mode {
		case filemode.Dir:
			below, err := x.sum(e.Hash, depth+1)
			if err != nil {
				return total, err
			}
			s.add(below)
		case filemode.Regular, filemode.Deprecated, filemode.Executable:
			if s.bytes, err = x.objects.EncodedObjectSize(e.Hash); err != nil {
				return total, &damagedError{fmt.Errorf("file %q: %w", e.Name, err)}
			}
		}
		total.add(s)
	}
	x.sums[h] = total
	return total, nil
}

func (x *export) tree(h plumbing.Hash, dir string) error {
	t, err := object.GetTree(x.objects, h)
	if err != nil {
		return &damagedError{fmt.Errorf("folder %q: %w", dir, err)}
	}
	for i := range t.Entries {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		if err := x.entry(&t.Entries[i], dir); err != nil {
			return err
		}
	}
	return nil
}

func (x *export) entry(e *object.TreeEntry, dir string) error {
	name := path.Join(dir, e.Name)
	switch {
	case e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00"):
		return unreleasable(dir+"/"+e.Name, "its name is not a file's name: make the commit again with git")
	case strings.EqualFold(e.Name, ".git"):
		return unreleasable(name, "a folder of git's own does not belong into a commit: remove it")
	case len(name) > maxPath:
		return unreleasable(name[:64]+"...", "its path has more than %d bytes", maxPath)
	}
	switch e.Mode {
	case filemode.Dir:
		return x.dir(e, name)
	case filemode.Regular, filemode.Deprecated:
		return x.file(e, name, 0o644)
	case filemode.Executable:
		return x.file(e, name, 0o755)
	case filemode.Symlink:
		return x.link(e, name)
	case filemode.Submodule:
		return unreleasable(name, "submodules are not fetched: put the files into the repository")
	}
	return unreleasable(name, "its mode %o is none that git writes", uint32(e.Mode))
}

func (x *export) dir(e *object.TreeEntry, name string) error {
	if err := x.count(name, 0); err != nil {
		return err
	}
	if err := made(name, x.root.Mkdir(name, 0o755)); err != nil {
		return err
	}
	if err := x.root.Chmod(name, 0o755); err != nil { // whatever the umask is
		return err
	}
	return x.tree(e.Hash, name)
}

func (x *export) file(e *object.TreeEntry, name string, mode os.FileMode) (err error) {
	content, size, err := x.open(e, name)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := x.count(name, size); err != nil {
		return err
	}
	in := bufio.NewReaderSize(source{x.ctx, content}, 32<<10)
	if err := checkPointer(in, name, size); err != nil {
		return err
	}
	f, err := x.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err := made(name, err); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, in)
	if err != nil {
		return err
	}
	if n != size {
		return &damagedError{fmt.Errorf("file %q: %d of %d bytes", name, n, size)}
	}
	return f.Chmod(mode) // whatever the umask is
}

func (x *export) link(e *object.TreeEntry, name string) error {
	content, size, err := x.open(e, name)
	if err != nil {
		return err
	}
	defer content.Close()
	if size > maxPath {
		return unreleasable(name, "symbolic link with more than %d bytes: remove it", maxPath)
	}
	if err := x.count(name, 0); err != nil {
		return err
	}
	target, err := io.ReadAll(source{x.ctx, content})
	if err != nil {
		return err
	}
	if err := archive.CheckLink(name, string(target)); err != nil {
		return fmt.Errorf("%w: %w", ErrRelease, err)
	}
	return made(name, x.root.Symlink(string(target), name))
}

// open opens the content of a file.
func (x *export) open(e *object.TreeEntry, name string) (io.ReadCloser, int64, error) {
	blob, err := object.GetBlob(x.objects, e.Hash)
	if err != nil {
		return nil, 0, &damagedError{fmt.Errorf("file %q: %w", name, err)}
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, 0, &damagedError{fmt.Errorf("file %q: %w", name, err)}
	}
	return r, blob.Size, nil
}

func (x *export) count(name string, size int64) error {
	if err := x.quota.Add(name, size); err != nil {
		return fmt.Errorf("%w: %w", ErrRelease, err)
	}
	return nil
}

// checkPointer refuses a pointer of LFS: the file that it stands for is elsewhere.
func checkPointer(in *bufio.Reader, name string, size int64) error {
	if size >= maxLFS {
		return nil
	}
	head, err := in.Peek(len(lfsHeader))
	if err != nil && err != io.EOF {
		return err
	}
	if bytes.Equal(head, []byte(lfsHeader)) {
		return unreleasable(name, "Git LFS is not fetched: put the file itself into the repository (git lfs migrate export)")
	}
	return nil
}

// source reads an object, minds the context, and tells its own errors from
// those of writing.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &damagedError{err}
	}
	return n, err
}

// made explains the error of making an entry.
func made(name string, err error) error {
	if errors.Is(err, os.ErrExist) {
		return unreleasable(name, "it stands twice in its folder: make the commit again with git")
	}
	return err
}

// unreleasable makes an error that names what in the commit has to change.
func unreleasable(name, format string, args ...any) error {
	return fmt.Errorf("%w: %q: %s", ErrRelease, name, fmt.Sprintf(format, args...))
}
