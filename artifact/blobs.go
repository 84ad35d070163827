package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/gostratos/stratos/store"
)

const (
	digestPrefix = "sha256-"
	tmpPrefix    = "tmp-"
)

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	digits, ok := strings.CutPrefix(string(d), digestPrefix)
	return ok && len(digits) == 2*sha256.Size && strings.Trim(digits, "0123456789abcdef") == ""
}

// digestOf is the digest of what a SHA-256 has seen.
func digestOf(h hash.Hash) Digest { return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil))) }

// DirBlobs are [Blobs] in one folder, a file for each. They survive a power
// failure as soon as Put returned. What a Put that was killed has left is
// removed at the first use. Several DirBlobs, also in several processes, may
// share a folder.
type DirBlobs struct {
	Path string // made when it is needed, with mode 0700; the files have 0600

	mu    sync.Mutex
	ready bool
}

var _ Blobs = (*DirBlobs)(nil)

// Put stores what r holds and returns its digest.
func (b *DirBlobs) Put(ctx context.Context, r io.Reader) (d Digest, err error) {
	if err := b.prepare(); err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	inUse, err := lockFile(ctx, b.lockPath(), syscall.LOCK_SH)
	if err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	defer func() { err = errors.Join(err, inUse.unlock()) }()
	tmp, err := os.CreateTemp(b.Path, tmpPrefix)
	if err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, sum), withContext(ctx, r))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		d = digestOf(sum)
		err = b.publish(tmp.Name(), d)
	}
	if err != nil {
		return "", fmt.Errorf("put blob: %w", errors.Join(err, remove(tmp.Name())))
	}
	return d, nil
}

// publish gives a whole file its name, unless it is there already.
func (b *DirBlobs) publish(tmp string, d Digest) error {
	have, err := os.Stat(b.file(d))
	if err == nil {
		now, err := os.Stat(tmp)
		if err != nil {
			return err
		}
		if have.Size() == now.Size() { // else somebody cut it: replace it
			return remove(tmp)
		}
	}
	if err := os.Rename(tmp, b.file(d)); err != nil {
		return err
	}
	return syncDir(b.Path)
}

// Get opens a blob.
func (b *DirBlobs) Get(_ context.Context, d Digest) (io.ReadCloser, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("blob %q is not a digest: %w", d, store.ErrNotFound)
	}
	if err := b.prepare(); err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	f, err := os.Open(b.file(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", d, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	return VerifyReader(f, d), nil
}

// List returns all digests, sorted.
func (b *DirBlobs) List(context.Context) ([]Digest, error) {
	if err := b.prepare(); err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	entries, err := os.ReadDir(b.Path)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	var all []Digest
	for _, e := range entries {
		if d := Digest(e.Name()); d.Valid() && e.Type().IsRegular() {
			all = append(all, d)
		}
	}
	return all, nil
}

// Delete removes a blob. Who has it open reads on.
func (b *DirBlobs) Delete(_ context.Context, d Digest) error {
	if !d.Valid() {
		return nil
	}
	if err := remove(b.file(d)); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

func (b *DirBlobs) file(d Digest) string { return filepath.Join(b.Path, string(d)) }

// prepare makes the folder and removes leftovers, once. While any process
// writes, nothing counts as a leftover.
func (b *DirBlobs) prepare() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready {
		return nil
	}
	if b.Path == "" {
		return errors.New("no folder: set DirBlobs.Path")
	}
	if err := os.MkdirAll(b.Path, 0o700); err != nil {
		return err
	}
	alone, err := tryLock(b.lockPath(), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	b.ready = true
	if alone == nil {
		return nil
	}
	defer func() { err = errors.Join(err, alone.unlock()) }()
	entries, err := os.ReadDir(b.Path)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			err = errors.Join(err, remove(filepath.Join(b.Path, e.Name())))
		}
	}
	return err
}

func (b *DirBlobs) lockPath() string { return filepath.Join(b.Path, ".lock") }

// VerifyReader reads rc and fails at its end, instead of with io.EOF, if what
// was read is not d. Nothing that was read may be trusted before the end.
func VerifyReader(rc io.ReadCloser, d Digest) io.ReadCloser {
	return &verifyReader{rc: rc, want: d, sum: sha256.New()}
}

type verifyReader struct {
	rc   io.ReadCloser
	want Digest
	sum  hash.Hash
}

func (v *verifyReader) Read(p []byte) (int, error) {
	n, err := v.rc.Read(p)
	v.sum.Write(p[:n]) // a hash never fails
	if err == io.EOF && digestOf(v.sum) != v.want {
		err = fmt.Errorf("blob %s is damaged: its content has the digest %s", v.want, digestOf(v.sum))
	}
	return n, err
}

func (v *verifyReader) Close() error { return v.rc.Close() }

// withContext fails reads once ctx has ended.
func withContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// remove deletes a file; one that is not there is no error.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
