package artifact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// maxPacks is how many fetches a mirror holds. Every object is looked up in
	// each of them, so beyond that it is cheaper to begin again.
	maxPacks = 50
	// largeObject is from which size on objects are streamed from disk, bytes.
	largeObject = 1 << 20
	// markPrefix is where a mirror keeps the commits that were asked for.
	markPrefix = "refs/got/"
	// fullFile holds the fingerprint of the refs of the last whole fetch.
	fullFile = "fetched-all"
)

// mirror is a bare repository that keeps what was fetched: a cache. It holds
// commits with little of their history, each with all its files. Its methods
// are called with its lock held.
type mirror struct {
	path  string
	store *filesystem.Storage
}

// lockMirror waits until nobody else uses the mirror at path.
func lockMirror(ctx context.Context, path string) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return lockFile(ctx, path+".lock", syscall.LOCK_EX)
}

// openMirror opens the mirror, or makes an empty one, and removes what a fetch
// that was killed has left.
func openMirror(path string) (*mirror, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	packs, err := cleanPacks(packFolder(path))
	if err != nil {
		return nil, err
	}
	if packs > maxPacks {
		if err := removeMirror(path); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
	}
	s := bareStorage(path)
	_, err = s.Reference(plumbing.HEAD)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		_, err = git.Init(s, nil)
	}
	if err != nil {
		return nil, &damagedError{err}
	}
	return &mirror{path: path, store: s}, nil
}

// bareStorage reads a bare repository.
func bareStorage(path string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(path), cache.NewObjectLRUDefault(),
		filesystem.Options{LargeObjectThreshold: largeObject})
}

// cleanPacks removes temporary files, and indexes without a pack: a fetch that
// brings the same pack again would trust the half-written index. It returns
// how many packs there are.
func cleanPacks(dir string) (packs int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	whole := map[string]bool{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".pack"); ok {
			whole[name] = true
		}
	}
	for _, e := range entries {
		name, isIndex := strings.CutSuffix(e.Name(), ".idx")
		if strings.HasPrefix(e.Name(), "tmp_") || isIndex && !whole[name] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return len(whole), err
}

// removeMirror deletes a mirror, at once.
func removeMirror(path string) error {
	trash := path + ".removed"
	if err := os.RemoveAll(trash); err != nil { // of one who was killed here
		return err
	}
	if err := os.Rename(path, trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(trash)
}

func (m *mirror) close() error { return m.store.Close() }

// has reports whether the mirror has a commit.
func (m *mirror) has(commit plumbing.Hash) (bool, error) {
	_, err := m.store.EncodedObject(plumbing.CommitObject, commit)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, &damagedError{err}
	}
	return true, nil
}

// got returns the commits that were asked for.
func (m *mirror) got() (have []plumbing.Hash, err error) {
	all, err := m.store.IterReferences()
	if err != nil {
		return nil, &damagedError{err}
	}
	err = all.ForEach(func(r *plumbing.Reference) error {
		if strings.HasPrefix(r.Name().String(), markPrefix) {
			have = append(have, r.Hash())
		}
		return nil
	})
	return have, err
}

// mark records that commit was asked for, and is here as a whole.
func (m *mirror) mark(commit plumbing.Hash) error {
	name := plumbing.ReferenceName(markPrefix + commit.String())
	return m.store.SetReference(plumbing.NewHashReference(name, commit))
}

// fetch brings commit from the remote, whichever way the remote allows.
func (m *mirror) fetch(ctx context.Context, r *remote, commit plumbing.Hash) error {
	want, ok := r.refs.want(commit)
	if !ok && !r.anyHash {
		return m.fetchAll(ctx, r, commit)
	}
	if !ok {
		want = commit
	}
	have, err := m.got()
	if err != nil {
		return err
	}
	if slices.Contains(have, commit) {
		return &damagedError{fmt.Errorf("commit %s was here", commit)}
	}
	if err := r.fetchOne(ctx, m.store, want, have); err != nil {
		if strings.Contains(err.Error(), "not our ref") { // go-git keeps only the text
			return noCommit(commit)
		}
		return err
	}
	err = m.arrived(commit)
	if errors.Is(err, ErrNoRef) && len(have) > 0 { // it is where we claimed to have more than there is
		return &damagedError{err}
	}
	return err
}

// fetchAll brings everything, because the remote gives no single commit out.
func (m *mirror) fetchAll(ctx context.Context, r *remote, commit plumbing.Hash) error {
	wants, fingerprint := r.refs.all()
	file := filepath.Join(m.path, fullFile)
	last, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(last) == fingerprint {
		return noCommit(commit)
	}
	if err := r.fetchAll(ctx, m.store, wants); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(fingerprint), 0o600); err != nil {
		return err
	}
	return m.arrived(commit)
}

// arrived checks that a fetch brought the commit.
func (m *mirror) arrived(commit plumbing.Hash) error {
	ok, err := m.has(commit)
	if err != nil {
		return err
	}
	if !ok {
		return noCommit(commit)
	}
	return m.mark(commit)
}

func noCommit(commit plumbing.Hash) error {
	return fmt.Errorf("%w: commit %s: it was never pushed, or its branch was deleted or overwritten", ErrNoRef, commit)
}
