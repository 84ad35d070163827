package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/artifact/archive"
)

const (
	// idleDownload is how long an archive may send nothing.
	idleDownload = 30 * time.Second
	// maxArchive bounds an archive, in bytes: 8 GiB.
	maxArchive = 8 << 30
)

// unpackRelease fetches the files that a names and makes dir, read-only, out of
// them. Nothing is unpacked before its digest is verified, and dir is there
// only when it is whole. dir must not exist.
func (c *control) unpackRelease(ctx context.Context, a wire.Assignment, dir string) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fetch-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeTree(tmp)) }()
	tar, err := os.Create(filepath.Join(tmp, "archive"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tar.Close()) }()
	if err := c.each(func(base string) error { return c.download(ctx, base, a.Archive, tar) }); err != nil {
		return err
	}
	files := filepath.Join(tmp, "files")
	if err := os.Mkdir(files, 0o700); err != nil {
		return err
	}
	err = archive.Unpack(tar, files, archive.Limits{})
	switch {
	case errors.Is(err, archive.ErrRefused):
		return refuse("the release's archive: %v", err)
	case err != nil:
		return err
	}
	if err := chmodTree(files, 0o222); err != nil {
		return err
	}
	// The folder itself must be writable to be renamed by who is not root.
	if err := os.Chmod(files, 0o700); err != nil {
		return err
	}
	if err := os.Rename(files, dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o500)
}

var (
	digestForm   = regexp.MustCompile(`^sha256-[0-9a-f]{64}$`)
	revisionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// checkNames refuses what cannot be a part of a path.
func checkNames(a wire.Assignment) error {
	if !digestForm.MatchString(a.Archive) {
		return refuse("the archive's digest %q is not sha256- and 64 hex digits", a.Archive)
	}
	if !revisionForm.MatchString(a.Revision) {
		return refuse("the revision %q cannot name a folder", a.Revision)
	}
	if !revisionForm.MatchString(a.PlanID) {
		return refuse("the plan's digest %q cannot name a folder", a.PlanID)
	}
	return nil
}

// download writes the archive into f, verified, and leaves f at its start.
func (c *control) download(ctx context.Context, base, digest string, f *os.File) error {
	if err := rewind(f); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(idleDownload, func() {
		cancel(fmt.Errorf("archive %s: nothing came for %v", digest, idleDownload))
	})
	defer idle.Stop()
	path := wire.ArchivePath + digest
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return newStatusError(path, resp)
	}
	sum := sha256.New()
	body := &watched{r: io.LimitReader(resp.Body, maxArchive), seen: func() { idle.Reset(idleDownload) }}
	if _, err := io.Copy(io.MultiWriter(f, sum), body); err != nil {
		return fmt.Errorf("archive %s: %w", digest, errors.Join(err, context.Cause(ctx)))
	}
	if got := "sha256-" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return fmt.Errorf("archive %s arrived as %s: it was damaged on its way", digest, got)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

func rewind(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// watched calls seen at every read that brought something.
type watched struct {
	r    io.Reader
	seen func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.seen()
	}
	return n, err
}
