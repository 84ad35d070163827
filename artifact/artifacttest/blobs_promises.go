package artifacttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
)

// large is more than anything buffers: 9 MiB and a bit.
const large = 9<<20 + 17

// sumOf is the digest that content must have.
func sumOf(content []byte) artifact.Digest {
	return artifact.Digest(fmt.Sprintf("sha256-%x", sha256.Sum256(content)))
}

// random returns content that does not compress. STRATOS_TEST_SEED repeats it.
func random(t testing.TB, size int) []byte {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("STRATOS_TEST_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "STRATOS_TEST_SEED")
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	var key [32]byte
	copy(key[:], strconv.FormatUint(seed, 10))
	b := make([]byte, size)
	_, err := rand.NewChaCha8(key).Read(b)
	require.NoError(t, err)
	return b
}

// put stores content in any case.
func put(t testing.TB, b artifact.Blobs, content string) artifact.Digest {
	t.Helper()
	d, err := b.Put(t.Context(), strings.NewReader(content))
	require.NoError(t, err)
	return d
}

// read returns the content of a blob, and the error at its end.
func read(t testing.TB, b artifact.Blobs, d artifact.Digest) ([]byte, error) {
	t.Helper()
	r, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, r.Close())
	return content, err
}

// holds checks that a blob is there and right.
func holds(t testing.TB, b artifact.Blobs, content []byte) {
	t.Helper()
	got, err := read(t, b, sumOf(content))
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got), "%d bytes were put, others came back (%d)", len(content), len(got))
}

// lists checks which blobs there are.
func lists(t testing.TB, b artifact.Blobs, want ...artifact.Digest) {
	t.Helper()
	all, err := b.List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, want, all)
}

// lacks checks that a blob is not there.
func lacks(t testing.TB, b artifact.Blobs, d artifact.Digest) {
	t.Helper()
	r, err := b.Get(t.Context(), d)
	if err == nil {
		require.NoError(t, r.Close())
	}
	require.ErrorIs(t, err, store.ErrNotFound)
}

func putReturnsDigest(t testing.TB, p Place) {
	b := p.Open()
	require.Equal(t, artifact.Digest("sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"), put(t, b, "hello"))
	require.Equal(t, artifact.Digest("sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), put(t, b, ""))
	for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader, iotest.HalfReader} {
		d, err := b.Put(t.Context(), wrap(strings.NewReader("another")))
		require.NoError(t, err)
		require.Equal(t, sumOf([]byte("another")), d)
		require.NoError(t, b.Delete(t.Context(), d))
	}
}

func getGivesContent(t testing.TB, p Place) {
	b := p.Open()
	content := random(t, large)
	for _, size := range []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20, large} {
		d, err := b.Put(t.Context(), bytes.NewReader(content[:size]))
		require.NoError(t, err)
		require.Equal(t, sumOf(content[:size]), d)
		holds(t, b, content[:size])
	}
}

func othersSeeIt(t testing.TB, p Place) {
	one, other := p.Open(), p.Open()
	d := put(t, one, "hello")
	holds(t, other, []byte("hello"))
	lists(t, other, d)
	holds(t, p.Open(), []byte("hello"))
	require.NoError(t, other.Delete(t.Context(), d))
	lacks(t, one, d)
	lists(t, one)
}

func putAgain(t testing.TB, p Place) {
	b := p.Open()
	d := put(t, b, "hello")
	require.Equal(t, d, put(t, b, "hello"))
	require.Equal(t, d, put(t, p.Open(), "hello"))
	lists(t, b, d)
	holds(t, b, []byte("hello"))
}

func readersIndependent(t testing.TB, p Place) {
	b := p.Open()
	content := random(t, large)
	d, err := b.Put(t.Context(), bytes.NewReader(content))
	require.NoError(t, err)
	first, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	var head [1000]byte
	_, err = io.ReadFull(first, head[:])
	require.NoError(t, err)
	holds(t, b, content)
	require.NoError(t, first.Close(), "though it was not read to its end")
	require.True(t, bytes.Equal(content[:len(head)], head[:]))
	holds(t, b, content)
}

func missingBlob(t testing.TB, p Place) {
	b := p.Open()
	lists(t, b)
	lacks(t, b, sumOf([]byte("nothing")))
	put(t, b, "something")
	lacks(t, b, sumOf([]byte("nothing")))
}

func onlyDigests(t testing.TB, p Place) {
	b := p.Open()
	d := put(t, b, "hello")
	for _, bad := range []artifact.Digest{
		"", ".", "..", "../" + d, "sha256-", d + "0", d[:len(d)-1], d + "/x", "/" + d, d + "\x00",
		artifact.Digest(strings.ToUpper(string(d))), "sha512-" + d[len("sha256-"):],
	} {
		lacks(t, b, bad)
		require.NoError(t, b.Delete(t.Context(), bad), "%q", bad)
	}
	lists(t, b, d)
	holds(t, b, []byte("hello"))
}

func listComplete(t testing.TB, p Place) {
	const n, workers = 1_103, 8 // more than the 1 000 that object stores give at once
	b := p.Open()
	var want [n]artifact.Digest
	var errs [n]error
	all(workers, func(w int) {
		for i := w; i < n; i += workers {
			want[i], errs[i] = b.Put(t.Context(), strings.NewReader("blob "+strconv.Itoa(i)))
		}
	})
	require.NoError(t, errors.Join(errs[:]...))
	lists(t, b, want[:]...)
	lists(t, p.Open(), want[:]...)
}

func deleteRemovesOne(t testing.TB, p Place) {
	b := p.Open()
	gone, stays := put(t, b, "gone"), put(t, b, "stays")
	require.NoError(t, b.Delete(t.Context(), sumOf([]byte("never there"))))
	require.NoError(t, b.Delete(t.Context(), gone))
	require.NoError(t, b.Delete(t.Context(), gone), "it is gone already")
	lacks(t, b, gone)
	lists(t, b, stays)
	holds(t, b, []byte("stays"))
	put(t, b, "gone")
	lists(t, b, gone, stays)
	holds(t, b, []byte("gone"))
}

func failedPut(t testing.TB, p Place) {
	b := p.Open()
	broken := errors.New("broken")
	for _, size := range []int{0, 100, large} {
		half := random(t, size)
		_, err := b.Put(t.Context(), io.MultiReader(bytes.NewReader(half), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
		lacks(t, b, sumOf(half))
	}
	lists(t, b)
	lists(t, p.Open())
}

func cancelledPut(t testing.TB, p Place) {
	b := p.Open()
	for _, size := range []int{0, 100, large} {
		half := random(t, size)
		ctx, cancel := context.WithCancel(t.Context())
		cancels := iotest.OneByteReader(readerFunc(func(p []byte) (int, error) {
			if ctx.Err() != nil {
				return 0, io.EOF
			}
			cancel()
			return len(p), nil
		}))
		_, err := b.Put(ctx, io.MultiReader(bytes.NewReader(half), cancels))
		require.ErrorIs(t, err, context.Canceled)
		_, err = b.Put(ctx, bytes.NewReader(half))
		require.ErrorIs(t, err, context.Canceled)
		lacks(t, b, sumOf(half))
	}
	lists(t, b)
	put(t, b, "it did no harm")
}

// readerFunc is a reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func visibleWhenWhole(t testing.TB, p Place) {
	b, other := p.Open(), p.Open()
	content := random(t, large)
	for _, part := range []int{0, large / 2, large} {
		// Where the blob is being read, everything stops and is looked at.
		look := readerFunc(func([]byte) (int, error) {
			for _, b := range []artifact.Blobs{b, other, p.Open()} {
				lists(t, b)
				lacks(t, b, sumOf(content))
				lacks(t, b, sumOf(content[:part]))
			}
			return 0, io.EOF
		})
		r := io.MultiReader(bytes.NewReader(content[:part]), look, bytes.NewReader(content[part:]))
		d, err := b.Put(t.Context(), r)
		require.NoError(t, err)
		holds(t, other, content)
		require.NoError(t, b.Delete(t.Context(), d))
	}
}

func damageSeen(t testing.TB, p Place) {
	b := p.Open()
	d := put(t, b, "hello")
	for _, content := range []string{"hellO", "hell", "hello!", "", strings.Repeat("hello", 1<<20)} {
		p.Overwrite(d, content)
		_, err := read(t, b, d)
		require.Error(t, err, "%d bytes of other content", len(content))
		require.ErrorContains(t, err, string(d), "the error names the blob")
	}
	p.Overwrite(d, "hello")
	holds(t, b, []byte("hello"))
}

func putMends(t testing.TB, p Place) {
	b := p.Open()
	d := put(t, b, "hello")
	for _, cut := range []string{"hell", ""} {
		p.Overwrite(d, cut)
		require.Equal(t, d, put(t, b, "hello"))
		holds(t, b, []byte("hello"))
	}
}

func concurrentSame(t testing.TB, p Place) {
	const n = 12
	content := random(t, 1<<20+1)
	want := sumOf(content)
	shared := p.Open()
	var errs [n]error
	var got [n]artifact.Digest
	all(n, func(i int) {
		b := shared
		if i%2 == 1 {
			b = p.Open()
		}
		got[i], errs[i] = b.Put(t.Context(), bytes.NewReader(content))
		if errs[i] == nil {
			errs[i] = verify(t.Context(), b, want)
		}
	})
	require.NoError(t, errors.Join(errs[:]...))
	for _, d := range got {
		require.Equal(t, want, d)
	}
	lists(t, shared, want)
	holds(t, shared, content)
}

// verify reads a blob to its end, in any goroutine.
func verify(ctx context.Context, b artifact.Blobs, d artifact.Digest) error {
	r, err := b.Get(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func concurrentUse(t testing.TB, p Place) {
	const n, rounds = 8, 6
	b := p.Open()
	var errs [n]error
	all(n, func(i int) {
		for round := range rounds {
			errs[i] = errors.Join(errs[i], cycle(t.Context(), b, fmt.Sprintf("%d of %d", round, i)))
		}
	})
	require.NoError(t, errors.Join(errs[:]...))
	lists(t, b)
}

// cycle is a blob's whole life.
func cycle(ctx context.Context, b artifact.Blobs, content string) error {
	d, err := b.Put(ctx, strings.NewReader(content))
	if err != nil {
		return err
	}
	if d != sumOf([]byte(content)) {
		return fmt.Errorf("%s was called %s", content, d)
	}
	if err := verify(ctx, b, d); err != nil {
		return err
	}
	found, err := b.List(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(found, d) {
		return fmt.Errorf("%s is not listed", d)
	}
	return b.Delete(ctx, d)
}
