// Package archive turns a folder into one stream and back: the files of a
// release, as a tar.
//
// [Pack] is deterministic: the same files make the same bytes, so that equal
// releases have equal digests. It keeps what a release is made of (folders,
// files, symbolic links and whether a file is executable) and nothing else:
// no owners, no times, no other modes. [Unpack] trusts nobody: whatever the
// stream holds, nothing is made outside the folder, and no symbolic link that
// leads outside it. [Check] says beforehand whether a folder can be packed.
package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// ErrRefused marks what a release must not hold. The error's text names the
// entry, the reason and the cure. Every other error is the disk's or the stream's.
var ErrRefused = errors.New("refused")

// The modes of everything that is packed or unpacked.
const (
	fileMode fs.FileMode = 0o644
	execMode fs.FileMode = 0o755 // executable files, and folders
)

// Defaults of [Limits].
const (
	DefaultFiles = 200_000
	DefaultBytes = 2 << 30
)

// Limits bounds how much a release may hold. The zero value is the defaults.
type Limits struct {
	Files int   // files, folders and links together. Default: DefaultFiles
	Bytes int64 // of the files' contents. Default: DefaultBytes
}

// withDefaults fills what was left out.
func (l Limits) withDefaults() Limits {
	if l.Files <= 0 {
		l.Files = DefaultFiles
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	return l
}

// Quota counts entries against limits, one at a time. It is not safe for
// concurrent use.
type Quota struct {
	limits, used Limits
}

// Quota returns a counter at zero.
func (l Limits) Quota() *Quota { return &Quota{limits: l.withDefaults()} }

// Add counts the entry name of size bytes, or refuses it.
func (q *Quota) Add(name string, size int64) error {
	q.used.Files++
	if q.used.Files > q.limits.Files {
		return refuse(name, tooManyFiles, q.limits.Files)
	}
	if size < 0 || size > q.limits.Bytes-q.used.Bytes {
		return refuse(name, tooManyBytes, q.limits.Bytes)
	}
	q.used.Bytes += size
	return nil
}

const (
	tooManyFiles = "more than %d files and folders: leave out what is not needed to run, or raise the limit"
	tooManyBytes = "all files together have more than %d bytes: leave out what is not needed to run, or raise the limit"
)

// Check refuses so many files, folders and links, with so many bytes in them.
func (l Limits) Check(files int, size int64) error {
	l = l.withDefaults()
	switch {
	case files > l.Files:
		return fmt.Errorf("%w: "+tooManyFiles, ErrRefused, l.Files)
	case size > l.Bytes:
		return fmt.Errorf("%w: "+tooManyBytes, ErrRefused, l.Bytes)
	}
	return nil
}

// CheckLink refuses the target of the symbolic link name (slash-separated,
// relative to the top) if following it may leave the tree. Leading ".." may
// climb as far as the top; a ".." further on is refused, because it would
// climb from wherever a link in the middle leads to.
func CheckLink(name, target string) error {
	switch {
	case target == "" || strings.ContainsRune(target, 0):
		return refuse(name, "symbolic link without a usable target: remove it")
	case path.IsAbs(target):
		return refuse(name, "symbolic link to the absolute path %q: make it relative, or copy the file", target)
	}
	depth := strings.Count(path.Clean(name), "/")
	descended := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			descended = true
		case descended:
			return refuse(name, `symbolic link to %q has ".." in the middle: write the target without it`, target)
		case depth == 0:
			return refuse(name, "symbolic link to %q leaves the tree: copy the file instead", target)
		default:
			depth--
		}
	}
	return nil
}

// refuse makes an error that names the entry.
func refuse(name, format string, args ...any) error {
	return fmt.Errorf("%q is %w: %s", name, ErrRefused, fmt.Sprintf(format, args...))
}
