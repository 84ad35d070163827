package artifacttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
)

// folder is a place of DirBlobs.
func folder(t testing.TB) Place {
	dir := t.TempDir()
	return Place{
		Open: func() artifact.Blobs { return &artifact.DirBlobs{Path: dir} },
		Overwrite: func(d artifact.Digest, content string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, string(d)), []byte(content), 0o600))
		},
	}
}

func TestDirBlobsKeepThePromises(t *testing.T) { RunBlobs(t, folder) }

// brokenBlobs break what their functions break.
type brokenBlobs struct {
	artifact.Blobs
	put    func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error)
	get    func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error)
	list   func(ctx context.Context, b artifact.Blobs) ([]artifact.Digest, error)
	remove func(ctx context.Context, b artifact.Blobs, d artifact.Digest) error
}

func (m *brokenBlobs) Put(ctx context.Context, r io.Reader) (artifact.Digest, error) {
	if m.put != nil {
		return m.put(ctx, m.Blobs, r)
	}
	return m.Blobs.Put(ctx, r)
}

func (m *brokenBlobs) Get(ctx context.Context, d artifact.Digest) (io.ReadCloser, error) {
	if m.get != nil {
		return m.get(ctx, m.Blobs, d)
	}
	return m.Blobs.Get(ctx, d)
}

func (m *brokenBlobs) List(ctx context.Context) ([]artifact.Digest, error) {
	if m.list != nil {
		return m.list(ctx, m.Blobs)
	}
	return m.Blobs.List(ctx)
}

func (m *brokenBlobs) Delete(ctx context.Context, d artifact.Digest) error {
	if m.remove != nil {
		return m.remove(ctx, m.Blobs, d)
	}
	return m.Blobs.Delete(ctx, d)
}

// unchecked opens the file of a blob, as it is.
func unchecked(_ context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(b.(*artifact.DirBlobs).Path, string(d)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, store.ErrNotFound
	}
	return f, err
}

// inMemory reads all that can be read before it puts it.
func inMemory(ctx context.Context, b artifact.Blobs, r io.Reader, goOn func(error) bool) (artifact.Digest, error) {
	content, err := io.ReadAll(r)
	if err != nil && !goOn(err) {
		return "", err
	}
	return b.Put(ctx, bytes.NewReader(content))
}

// TestTheKitSeesBrokenBlobs breaks good blobs, one promise at a time.
func TestTheKitSeesBrokenBlobs(t *testing.T) {
	for _, c := range []struct {
		name, promise string
		broken        func() *brokenBlobs // for every place
	}{
		{"a digest of another kind", "PutReturnsTheDigest", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				d, err := b.Put(ctx, r)
				return artifact.Digest(bytes.ToUpper([]byte(d))), err
			}}
		}},
		{"one read is all", "PutReturnsTheDigest", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				p := make([]byte, 16<<20)
				n, err := r.Read(p)
				if err != nil && err != io.EOF {
					return "", err
				}
				return b.Put(ctx, bytes.NewReader(p[:n]))
			}}
		}},
		{"only the first 5 MiB", "GetGivesWhatWasPut", func() *brokenBlobs {
			return &brokenBlobs{get: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
				f, err := unchecked(ctx, b, d)
				return struct {
					io.Reader
					io.Closer
				}{io.LimitReader(f, 5<<20), f}, err
			}}
		}},
		{"what is known is not asked again", "OthersSeeIt", func() *brokenBlobs {
			var seen sync.Map
			return &brokenBlobs{list: func(ctx context.Context, b artifact.Blobs) ([]artifact.Digest, error) {
				if l, ok := seen.Load("all"); ok {
					return l.([]artifact.Digest), nil
				}
				l, err := b.List(ctx)
				seen.Store("all", l)
				return l, err
			}}
		}},
		{"twice is a conflict", "PutAgainChangesNothing", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				before, err := b.List(ctx)
				if err != nil {
					return "", err
				}
				d, err := b.Put(ctx, r)
				if err == nil && slices.Contains(before, d) {
					err = errors.New("it exists")
				}
				return d, err
			}}
		}},
		{"one reader for all", "ReadersAreIndependent", func() *brokenBlobs {
			var mu sync.Mutex
			open := map[artifact.Digest]io.ReadCloser{}
			return &brokenBlobs{get: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
				mu.Lock()
				defer mu.Unlock()
				if r := open[d]; r != nil {
					return r, nil
				}
				r, err := b.Get(ctx, d)
				open[d] = r
				return r, err
			}}
		}},
		{"an error of its own", "MissingIsErrNotFound", func() *brokenBlobs {
			return &brokenBlobs{get: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
				r, err := b.Get(ctx, d)
				if err != nil {
					err = errors.New(err.Error())
				}
				return r, err
			}}
		}},
		{"nothing is an empty blob", "MissingIsErrNotFound", func() *brokenBlobs {
			return &brokenBlobs{get: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
				r, err := b.Get(ctx, d)
				if errors.Is(err, store.ErrNotFound) {
					return io.NopCloser(bytes.NewReader(nil)), nil
				}
				return r, err
			}}
		}},
		{"paths are followed", "OnlyDigestsName", func() *brokenBlobs { return &brokenBlobs{get: unchecked} }},
		{"a digest that is none is an error", "OnlyDigestsName", func() *brokenBlobs {
			return &brokenBlobs{remove: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) error {
				if !d.Valid() {
					return errors.New("not a digest")
				}
				return b.Delete(ctx, d)
			}}
		}},
		{"one page is all", "ListIsComplete", func() *brokenBlobs {
			return &brokenBlobs{list: func(ctx context.Context, b artifact.Blobs) ([]artifact.Digest, error) {
				l, err := b.List(ctx)
				return l[:min(len(l), 1000)], err
			}}
		}},
		{"pages overlap", "ListIsComplete", func() *brokenBlobs {
			return &brokenBlobs{list: func(ctx context.Context, b artifact.Blobs) ([]artifact.Digest, error) {
				l, err := b.List(ctx)
				if len(l) > 1000 {
					l = slices.Insert(l, 1000, l[999])
				}
				return l, err
			}}
		}},
		{"what is gone is an error", "DeleteRemovesOne", func() *brokenBlobs {
			return &brokenBlobs{remove: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) error {
				r, err := b.Get(ctx, d)
				if err != nil {
					return err
				}
				return errors.Join(r.Close(), b.Delete(ctx, d))
			}}
		}},
		{"nothing is deleted", "DeleteRemovesOne", func() *brokenBlobs {
			return &brokenBlobs{remove: func(context.Context, artifact.Blobs, artifact.Digest) error { return nil }}
		}},
		{"everything is deleted", "DeleteRemovesOne", func() *brokenBlobs {
			return &brokenBlobs{remove: func(ctx context.Context, b artifact.Blobs, _ artifact.Digest) error {
				l, err := b.List(ctx)
				for _, d := range l {
					err = errors.Join(err, b.Delete(ctx, d))
				}
				return err
			}}
		}},
		{"a failure is the end", "FailedPutLeavesNothing", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				return inMemory(ctx, b, r, func(error) bool { return true })
			}}
		}},
		{"the half of a failure stays", "FailedPutLeavesNothing", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				var failed error
				d, err := inMemory(ctx, b, r, func(err error) bool { failed = err; return true })
				return d, errors.Join(err, failed)
			}}
		}},
		{"contexts are ignored", "CancelledPutLeavesNothing", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				return b.Put(context.WithoutCancel(ctx), r)
			}}
		}},
		{"it grows where all see it", "NothingIsVisibleBeforeItIsWhole", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				head, err := io.ReadAll(io.LimitReader(r, large/2))
				if err != nil {
					return "", err
				}
				part, err := b.Put(ctx, bytes.NewReader(head))
				if err != nil {
					return "", err
				}
				d, err := b.Put(ctx, io.MultiReader(bytes.NewReader(head), r))
				return d, errors.Join(err, b.Delete(ctx, part))
			}}
		}},
		{"content is not checked", "DamageIsSeen", func() *brokenBlobs { return &brokenBlobs{get: unchecked} }},
		{"damage is a good end", "DamageIsSeen", func() *brokenBlobs {
			return &brokenBlobs{get: func(ctx context.Context, b artifact.Blobs, d artifact.Digest) (io.ReadCloser, error) {
				r, err := b.Get(ctx, d)
				return lenientReader{r}, err
			}}
		}},
		{"what has the name is good", "PutMendsWhatWasCut", func() *brokenBlobs {
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				content, err := io.ReadAll(r)
				if err != nil {
					return "", err
				}
				if l, err := b.List(ctx); err != nil || slices.Contains(l, sumOf(content)) {
					return sumOf(content), err
				}
				return b.Put(ctx, bytes.NewReader(content))
			}}
		}},
		{"one at a time, the others fail", "ConcurrentPutsOfTheSame", func() *brokenBlobs {
			var busy atomic.Bool
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				if !busy.CompareAndSwap(false, true) {
					return "", errors.New("busy")
				}
				defer busy.Store(false)
				return b.Put(ctx, r)
			}}
		}},
		{"answers are mixed up", "ConcurrentUse", func() *brokenBlobs {
			var last atomic.Value
			return &brokenBlobs{put: func(ctx context.Context, b artifact.Blobs, r io.Reader) (artifact.Digest, error) {
				d, err := b.Put(ctx, r)
				if other := last.Swap(d); other != nil {
					d = other.(artifact.Digest)
				}
				return d, err
			}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.False(t, blobsPass(t, c.promise, c.broken()), "%s must not pass", c.promise)
		})
	}
}

// lenientReader ends well, whatever happens.
type lenientReader struct{ io.ReadCloser }

func (l lenientReader) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// blobsPass reports whether a promise holds for DirBlobs, broken.
func blobsPass(t *testing.T, name string, broken *brokenBlobs) bool {
	t.Helper()
	i := slices.IndexFunc(blobsPromises(), func(p blobsPromise) bool { return p.name == name })
	require.NotEqual(t, -1, i, "no promise %s", name)
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() {
		p := folder(t)
		good := p.Open
		p.Open = func() artifact.Blobs {
			m := *broken
			m.Blobs = good()
			return &m
		}
		blobsPromises()[i].check(r, p)
	})
	wg.Wait()
	return !r.failed.Load()
}
