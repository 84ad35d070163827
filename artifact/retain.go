package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gostratos/stratos/store"
)

// pageSize is how many records are read at a time. A release carries a log.
const pageSize = 100

// trim forgets the releases of k beyond those to be kept. What goes wrong is
// made good by the next one.
func (r *run) trim(ctx context.Context, k Key, head string) {
	all, _, err := store.ReadAll[Release](ctx, r.Store, ReleasePrefix+k.String()+"/")
	if err == nil {
		err = r.forget(ctx, r.surplus(k, head, all))
	}
	if err != nil && ctx.Err() == nil {
		r.log().Warn("removing old releases failed", "key", k, "error", err)
	}
	r.wakeSweep() // a failed build left nothing, but a replaced release might have
}

// surplus returns the keys of the releases that need not be kept.
func (r *run) surplus(k Key, head string, all []store.Record[Release]) (keys []string) {
	inUse := map[string]bool{head: true}
	if r.InUse != nil {
		for _, revision := range r.InUse(k) {
			inUse[revision] = true
		}
	}
	slices.SortFunc(all, func(a, b store.Record[Release]) int {
		return cmp.Or(b.Value.At.Compare(a.Value.At), cmp.Compare(b.Mod, a.Mod))
	})
	left := cmp.Or(r.Quota, DefaultQuota)
	for _, rel := range all {
		if inUse[rel.Value.Revision] {
			left -= rel.Value.Size // whatever their age: the others have to do with the rest
		}
	}
	for i, rel := range all {
		switch {
		case inUse[rel.Value.Revision]:
		case i >= cmp.Or(r.Keep, DefaultKeep), rel.Value.Size > left:
			keys = append(keys, rel.Key)
			left = min(left, 0) // nothing older is kept in its place
		default:
			left -= rel.Value.Size
		}
	}
	return keys
}

// forget deletes records.
func (r *run) forget(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, store.MaxTxnOps) {
		t := store.Txn{If: []store.Cond{r.guard}}
		for _, k := range some {
			t.Then = append(t.Then, store.Op{Key: k, Delete: true})
		}
		if _, err := r.Store.Commit(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// remove forgets everything about k: the repository last, so that a removal
// that is cut off is found again.
func (r *run) remove(ctx context.Context, k Key) error {
	var keys []string
	err := r.scan(ctx, ReleasePrefix+k.String()+"/", func(kv store.KV) error {
		keys = append(keys, kv.Key)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.forget(ctx, append(keys, RepositoryKey(k))); err != nil {
		return err
	}
	r.wakeSweep()
	return dropMirror(ctx, r.mirror(k))
}

// dropMirror deletes a mirror and its lock.
func dropMirror(ctx context.Context, mirror string) (err error) {
	if _, err := os.Stat(filepath.Dir(mirror)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockFile(ctx, mirror+".lock", syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	if err := removeMirror(mirror); err != nil {
		return err
	}
	return remove(mirror + ".lock") // while it is locked: see tryLock
}

// leftovers returns every key that has records or a mirror.
func (r *run) leftovers(ctx context.Context) ([]Key, error) {
	found := map[Key]bool{}
	for _, prefix := range []string{RepositoryPrefix, ReleasePrefix} {
		err := r.scan(ctx, prefix, func(kv store.KV) error {
			parts := strings.Split(strings.TrimPrefix(kv.Key, prefix), "/")
			if len(parts) >= 2 {
				found[Key{parts[0], parts[1]}] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	mirrors, err := fs.Glob(os.DirFS(r.mirrors()), "*/*.git*")
	if err != nil {
		return nil, err
	}
	for _, m := range mirrors {
		alias, _, _ := strings.Cut(path.Base(m), ".git")
		found[Key{path.Dir(m), alias}] = true
	}
	maps.DeleteFunc(found, func(k Key, _ bool) bool { return !k.usable() })
	return slices.Collect(maps.Keys(found)), nil
}

// scan visits all records below prefix, of one state, a page at a time.
func (r *run) scan(ctx context.Context, prefix string, visit func(store.KV) error) error {
	o := store.ReadOptions{Limit: pageSize}
	for {
		page, err := r.Store.List(ctx, prefix, o)
		if err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
		for _, kv := range page.KVs {
			if err := visit(kv); err != nil {
				return err
			}
		}
		if !page.More || len(page.KVs) == 0 {
			return nil
		}
		o.After, o.At = page.KVs[len(page.KVs)-1].Key, page.Rev
	}
}

// wakeSweep asks for a sweep.
func (r *run) wakeSweep() {
	select {
	case r.sweep <- struct{}{}:
	default: // one is due anyway
	}
}

// sweepLoop sweeps whenever it was asked to.
func (r *run) sweepLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.sweep:
		}
		if err := r.sweepBlobs(ctx); err != nil && ctx.Err() == nil {
			r.log().Warn("removing old blobs failed", "error", err)
		}
	}
}

// sweepBlobs deletes the blobs that no release and no hosted repository refers to.
func (r *run) sweepBlobs(ctx context.Context) error {
	leave, err := enter(ctx, r.publishing)
	if err != nil {
		return err
	}
	defer leave()
	blobs, err := r.Blobs.List(ctx)
	if err != nil {
		return err
	}
	needed := map[Digest]bool{}
	err = r.scan(ctx, ReleasePrefix, func(kv store.KV) error {
		rel, err := store.Decode[Release](kv)
		needed[rel.Value.Archive], needed[rel.Value.Plan] = true, true
		return err // one that cannot be read may refer to anything
	})
	if err != nil {
		return err
	}
	err = r.scan(ctx, HostedPrefix, func(kv store.KV) error {
		repo, err := store.Decode[HostedRepository](kv)
		for _, p := range repo.Value.Packs {
			needed[p.Blob] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range blobs {
		if !needed[d] {
			err = errors.Join(err, r.Blobs.Delete(ctx, d))
		}
	}
	return err
}

// removeTree deletes a folder, also one in which a build left folders that
// must not be written to.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700) // before what is in it is read
		}
		return nil // RemoveAll says what is wrong
	})
	return errors.Join(err, os.RemoveAll(dir))
}
