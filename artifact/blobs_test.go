package artifact_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
)

// sha256("hello")
const helloDigest artifact.Digest = "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func read(t testing.TB, b artifact.Blobs, d artifact.Digest) string {
	t.Helper()
	r, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	defer r.Close()
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(content)
}

func TestDirBlobs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "blobs")
	b := &artifact.DirBlobs{Path: path}
	none, err := b.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, none)

	d, err := b.Put(t.Context(), strings.NewReader("hello"))
	require.NoError(t, err)
	require.Equal(t, helloDigest, d)
	require.Equal(t, "hello", read(t, b, d))
	again, err := b.Put(t.Context(), iotest.OneByteReader(strings.NewReader("hello")))
	require.NoError(t, err)
	require.Equal(t, d, again)
	empty, err := b.Put(t.Context(), strings.NewReader(""))
	require.NoError(t, err)
	require.Empty(t, read(t, b, empty))
	all, err := b.List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []artifact.Digest{d, empty}, all)

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(path, string(d)))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, b.Delete(t.Context(), d))
	require.NoError(t, b.Delete(t.Context(), d), "gone already")
	_, err = b.Get(t.Context(), d)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Equal(t, "", read(t, &artifact.DirBlobs{Path: path}, empty), "it is on disk")
}

func TestDirBlobsKeepsNothingOfAFailedPut(t *testing.T) {
	b := &artifact.DirBlobs{Path: t.TempDir()}
	broken := errors.New("broken")
	_, err := b.Put(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Put(ctx, strings.NewReader("x"))
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, entries(t, b.Path), 1, "the lock")
}

func TestDirBlobsCleansUpAfterAKill(t *testing.T) {
	path := t.TempDir()
	left := filepath.Join(path, "tmp-123")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))
	first, second := &artifact.DirBlobs{Path: path}, &artifact.DirBlobs{Path: path}
	_, err := first.List(t.Context())
	require.NoError(t, err)
	require.NoFileExists(t, left)

	// A Put that is under way is no leftover.
	r, w := io.Pipe()
	type result struct {
		d   artifact.Digest
		err error
	}
	put := make(chan result)
	go func() {
		d, err := first.Put(t.Context(), r)
		put <- result{d, err}
	}()
	_, err = io.WriteString(w, "hel")
	require.NoError(t, err)
	_, err = second.List(t.Context())
	require.NoError(t, err)
	_, err = io.WriteString(w, "lo")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, result{helloDigest, nil}, <-put)
	require.Equal(t, "hello", read(t, second, helloDigest))
}

func TestDirBlobsReplacesWhatWasCut(t *testing.T) {
	b := &artifact.DirBlobs{Path: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(b.Path, string(helloDigest)), nil, 0o600))
	_, err := b.Put(t.Context(), strings.NewReader("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", read(t, b, helloDigest))
}

func TestDirBlobsIsConcurrent(t *testing.T) {
	path := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		b := &artifact.DirBlobs{Path: path}
		wg.Go(func() { _, errs[i] = b.Put(t.Context(), strings.NewReader(strings.Repeat("x", i%4))) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	all, err := (&artifact.DirBlobs{Path: path}).List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 4)
}

func TestDirBlobsTakesOnlyDigests(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	b := &artifact.DirBlobs{Path: filepath.Join(dir, "blobs")}
	for _, d := range []artifact.Digest{"", "../secret", "sha256-", "sha256-../secret", helloDigest + "0", artifact.Digest(strings.ToUpper(string(helloDigest)))} {
		_, err := b.Get(t.Context(), d)
		require.ErrorIs(t, err, store.ErrNotFound, d)
		require.NoError(t, b.Delete(t.Context(), d))
	}
	require.FileExists(t, filepath.Join(dir, "secret"))
	_, err := (&artifact.DirBlobs{}).List(t.Context())
	require.ErrorContains(t, err, "DirBlobs.Path")
}

func TestVerifyReader(t *testing.T) {
	for _, c := range []struct {
		name, content string
		ok            bool
	}{
		{"right", "hello", true},
		{"changed", "hellO", false},
		{"cut", "hell", false},
		{"longer", "hello!", false},
		{"empty", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := artifact.VerifyReader(io.NopCloser(iotest.DataErrReader(strings.NewReader(c.content))), helloDigest)
			b, err := io.ReadAll(r)
			require.NoError(t, r.Close())
			require.Equal(t, c.content, string(b))
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, string(helloDigest)+" is damaged")
		})
	}
}
