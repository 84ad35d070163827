package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// noise is content that cannot be compressed.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // never fails
	return string(b)
}

// fetched fetches into a new folder.
func fetched(t testing.TB, s artifact.Source, revision string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, s.Fetch(t.Context(), revision, dir))
	return artifacttest.Files(t, dir)
}

// traffic counts what comes over HTTP, and may cut it off.
type traffic struct {
	bytes, fetches atomic.Int64
	// cut, if not 0, is after how many bytes of a body the connection breaks.
	cut int64
}

func (c *traffic) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		c.fetches.Add(1)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		res.Body = &countedBody{ReadCloser: res.Body, traffic: c}
	}
	return res, err
}

type countedBody struct {
	io.ReadCloser
	traffic *traffic
	read    int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.traffic.cut > 0 && b.read >= b.traffic.cut {
		return 0, io.ErrUnexpectedEOF
	}
	if b.traffic.cut > 0 && int64(len(p)) > b.traffic.cut-b.read {
		p = p[:b.traffic.cut-b.read]
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.traffic.bytes.Add(int64(n))
	return n, err
}

func TestFetchBringsOnlyWhatIsNew(t *testing.T) {
	const big = 1 << 20
	repo := artifacttest.NewRepo(t)
	repo.Write("old", noise(1, big), 0o644)
	repo.Commit("history")
	repo.Git("rm", "--quiet", "old")
	for i := range 60 {
		repo.Commit(fmt.Sprint("age ", i))
	}
	repo.Write("big", noise(2, big), 0o644)
	first := repo.Commit("one")
	count := &traffic{}
	g := overHTTP(t, repo)
	g.HTTP = &http.Client{Transport: count}

	fetched(t, g, first)
	require.Less(t, count.bytes.Swap(0), int64(3*big/2), "little history")
	fetched(t, g, first)
	require.Zero(t, count.bytes.Swap(0), "what is here is not asked for")
	repo.Write("small", "s", 0o644)
	second := repo.Commit("two")
	require.Len(t, fetched(t, g, second), 2)
	require.Less(t, count.bytes.Swap(0), int64(big/10), "only the change")
	repo.Write("small", "s2", 0o644)
	repo.Git("add", "--all")
	repo.Git("commit", "--quiet", "--amend", "--message", "two, again")
	require.Len(t, fetched(t, g, repo.Git("rev-parse", "HEAD")), 2)
	require.Less(t, count.bytes.Load(), int64(big/10), "only the change, after a force push")
	count.bytes.Store(0)
	repo.Write("old", noise(1, big), 0o644) // it was before the history that is here
	require.Len(t, fetched(t, g, repo.Commit("back")), 3)
	require.Less(t, count.bytes.Load(), int64(3*big/2), "not everything again")
}

// TestBranchThatForkedLongAgo has a mirror whose history ends after the fork.
func TestBranchThatForkedLongAgo(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("old", noise(1, 1000), 0o644)
	fork := repo.Commit("fork")
	repo.Git("rm", "--quiet", "old")
	for i := range 60 {
		repo.Commit(fmt.Sprint("age ", i))
	}
	last := repo.Commit("last")
	repo.Git("checkout", "--quiet", "-b", "side", fork)
	repo.Write("new", "n", 0o644)
	side := repo.Commit("side")
	count := &traffic{}
	g := overHTTP(t, repo)
	g.HTTP = &http.Client{Transport: count}
	require.Empty(t, fetched(t, g, last))
	require.Len(t, fetched(t, g, side), 2)
	require.EqualValues(t, 2, count.fetches.Load(), "the server was told where the mirror's history ends")
}

func TestInterruptedFetchDoesNoHarm(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("a", noise(1, 200_000), 0o644)
	first := repo.Commit("one")
	repo.Write("b", noise(2, 200_000), 0o644)
	second := repo.Commit("two")
	for _, cut := range []int64{1, 10, 100, 1000, 100_000, 200_100} {
		g := overHTTP(t, repo)
		fetched(t, g, first)
		g.HTTP = &http.Client{Transport: &traffic{cut: cut}}
		require.Error(t, g.Fetch(t.Context(), second, t.TempDir()), "cut after %d bytes", cut)
		g.HTTP = nil
		require.Len(t, fetched(t, g, second), 2)
		require.Len(t, fetched(t, g, first), 1)
		requireNoTemporaryFiles(t, g.Mirror)
	}
}

func requireNoTemporaryFiles(t *testing.T, mirror string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(mirror, "objects", "pack", "tmp_*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestKilledFetchDoesNoHarm leaves what a process leaves that is killed while
// it writes a pack, or its index.
func TestKilledFetchDoesNoHarm(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	revision := repo.Commit("one")
	whole := overHTTP(t, repo)
	want := fetched(t, whole, revision)
	packs := packsOf(t, whole.Mirror)
	require.NotEmpty(t, packs)

	g := overHTTP(t, repo)
	count := &traffic{}
	g.HTTP = &http.Client{Transport: count}
	dir := filepath.Join(g.Mirror, "objects", "pack")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tmp_pack_1"), []byte("PACK"), 0o600))
	for _, p := range packs { // git packs the same objects to the same name again
		index := strings.TrimSuffix(filepath.Base(p), ".pack") + ".idx"
		require.NoError(t, os.WriteFile(filepath.Join(dir, index), []byte("\xfftOc half an index"), 0o600))
	}
	require.Equal(t, want, fetched(t, g, revision))
	require.Equal(t, want, fetched(t, g, revision))
	require.EqualValues(t, 1, count.fetches.Load(), "the mirror is in order at once")
	requireNoTemporaryFiles(t, g.Mirror)
}

func packsOf(t *testing.T, mirror string) []string {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(mirror, "objects", "pack", "*.pack"))
	require.NoError(t, err)
	return packs
}

func TestDamagedMirrorIsMadeAgain(t *testing.T) {
	overwrite := func(suffix, content string) func(t *testing.T, mirror string) {
		return func(t *testing.T, mirror string) {
			n := 0
			require.NoError(t, filepath.WalkDir(mirror, func(p string, d fs.DirEntry, err error) error {
				if err == nil && strings.HasSuffix(p, suffix) {
					n++
					return errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, []byte(content), 0o600))
				}
				return err
			}))
			require.Positive(t, n)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, mirror string)
	}{
		{"an empty pack", overwrite(".pack", "")},
		{"a pack of something else", overwrite(".pack", strings.Repeat("x", 5000))},
		{"an empty index", overwrite(".idx", "")},
		{"an index of something else", overwrite(".idx", strings.Repeat("x", 5000))},
		{"a broken HEAD", overwrite("HEAD", "x")},
		{"packs that are gone, marks that are not", func(t *testing.T, mirror string) {
			require.NoError(t, os.RemoveAll(filepath.Join(mirror, "objects")))
		}},
		{"an index that is gone", func(t *testing.T, mirror string) {
			for _, p := range packsOf(t, mirror) {
				require.NoError(t, os.Remove(strings.TrimSuffix(p, ".pack")+".idx"))
			}
		}},
		{"everything is gone", func(t *testing.T, mirror string) { require.NoError(t, os.RemoveAll(mirror)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := artifacttest.NewRepo(t)
			repo.Write("kept", noise(1, 5000), 0o644)
			first := repo.Commit("one")
			g := overHTTP(t, repo)
			want := fetched(t, g, first)
			c.damage(t, g.Mirror)
			require.Equal(t, want, fetched(t, g, first))
			c.damage(t, g.Mirror)
			repo.Write("new", "n", 0o644)
			require.Len(t, fetched(t, g, repo.Commit("two")), 2)
		})
	}
}

func TestMirrorDoesNotGrowForEver(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	g := overHTTP(t, repo)
	most := 0
	for range 53 {
		repo.Write("f", noise(uint64(most), 10), 0o644)
		fetched(t, g, repo.Commit("next"))
		most = max(most, len(packsOf(t, g.Mirror)))
	}
	require.LessOrEqual(t, most, 51)
	require.Less(t, len(packsOf(t, g.Mirror)), 10)
}

func TestErrorsOfRepositories(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "internal secret", code) }
	}
	for _, c := range []struct {
		name    string
		handler http.Handler
		want    error
	}{
		{"not there", status(http.StatusNotFound), artifact.ErrNoRepository},
		{"login wanted", status(http.StatusUnauthorized), artifact.ErrAuth},
		{"forbidden", status(http.StatusForbidden), artifact.ErrAuth},
		{"broken", status(http.StatusBadGateway), nil},
		{"a page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello</html>") }), nil},
		{"an endless page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}), nil},
		{"an endless error", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}), artifact.ErrNoRepository},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := artifacttest.NewRepo(t)
			g := &artifact.Git{URL: serve(t, repo, c.handler), Mirror: filepath.Join(t.TempDir(), "m.git")}
			_, err := g.Resolve(t.Context(), "main")
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, g.URL)
			require.NotContains(t, err.Error(), "internal secret", "what an address answers is nobody's business")
			require.Error(t, g.Fetch(t.Context(), strings.Repeat("a", 40), t.TempDir()))
		})
	}
}

func TestErrorsOfLocalFolders(t *testing.T) {
	for _, c := range []struct {
		name, url string
		want      error
	}{
		{"not there", artifact.Dir("/does/not/exist"), artifact.ErrNoRepository},
		{"no repository", artifact.Dir(t.TempDir()), artifact.ErrNoRepository},
		{"not absolute", "dir:x", artifact.ErrURL},
		{"a path without Dir", "/srv/repo", artifact.ErrURL},
		{"file", "file:///srv/repo", artifact.ErrURL},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &artifact.Git{URL: c.url, Mirror: filepath.Join(t.TempDir(), "m.git")}
			_, err := g.Resolve(t.Context(), "")
			require.ErrorIs(t, err, c.want)
			require.ErrorIs(t, g.Fetch(t.Context(), strings.Repeat("a", 40), t.TempDir()), c.want)
		})
	}
}

func TestDirTakesBareRepositoriesAndLinkedWorkTrees(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	first := repo.Commit("one")
	bare, linked := filepath.Join(t.TempDir(), "bare.git"), filepath.Join(t.TempDir(), "linked")
	repo.Git("clone", "--quiet", "--bare", ".", bare)
	repo.Git("worktree", "add", "--quiet", "-b", "side", linked)
	repo.Git("gc", "--quiet") // packed refs
	for _, dir := range []string{bare, linked, filepath.Join(repo.Dir, ".git")} {
		g := &artifact.Git{URL: artifact.Dir(dir)}
		revision, err := g.Resolve(t.Context(), "main")
		require.NoError(t, err, dir)
		require.Equal(t, first, revision)
		require.Equal(t, map[string]string{"f": "-rw-r--r-- 1"}, fetched(t, g, revision))
	}
}

// TestSilentServers has servers that accept connections and say nothing.
func TestSilentServers(t *testing.T) {
	address := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	t.Setenv("SSH_KNOWN_HOSTS", emptyFile(t))
	for _, scheme := range []string{"http", "git", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			g := &artifact.Git{URL: scheme + "://" + address + "/repo", Mirror: filepath.Join(t.TempDir(), "m.git"), Timeout: 50 * time.Millisecond}
			_, err := g.Resolve(t.Context(), "main")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, g.Fetch(t.Context(), strings.Repeat("a", 40), t.TempDir()), context.DeadlineExceeded)

			g.Timeout = 0
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone home")
			cancel(gone)
			_, err = g.Resolve(ctx, "main")
			require.ErrorIs(t, err, gone)
		})
	}
}

func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	return path
}

func TestLimitsOfFetch(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("zeros", strings.Repeat("\x00", 1<<20), 0o644)
	bomb := repo.Commit("compresses well")
	repo.Write("zeros", noise(1, 1<<20), 0o644)
	fat := repo.Commit("compresses not at all")
	for _, c := range []struct {
		name, revision, want string
		set                  func(*artifact.Git)
	}{
		{"bytes of the files", bomb, "more than 1000 bytes", func(g *artifact.Git) { g.Limits = archive.Limits{Bytes: 1000} }},
		{"bytes on the wire", fat, "sends more than", func(g *artifact.Git) { g.MaxPack = 100_000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := overHTTP(t, repo)
			c.set(g)
			err := g.Fetch(t.Context(), c.revision, t.TempDir())
			require.ErrorIs(t, err, artifact.ErrRelease)
			require.ErrorContains(t, err, c.want)
			requireNoTemporaryFilesAfter(t, g, repo)
		})
	}
}

// requireNoTemporaryFilesAfter opens the mirror once more.
func requireNoTemporaryFilesAfter(t *testing.T, g *artifact.Git, repo *artifacttest.Repo) {
	t.Helper()
	g.MaxPack, g.Limits = 0, archive.Limits{}
	fetched(t, g, repo.Git("rev-parse", "HEAD"))
	requireNoTemporaryFiles(t, g.Mirror)
}

func TestMirrorIsShared(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	repo.Write("f", "1", 0o644)
	revision := repo.Commit("one")
	count := &traffic{}
	one := overHTTP(t, repo)
	one.HTTP = &http.Client{Transport: count}
	other := *one
	errs := make(chan error)
	for _, g := range []*artifact.Git{one, &other} {
		dir := t.TempDir()
		go func() { errs <- g.Fetch(t.Context(), revision, dir) }()
	}
	require.NoError(t, errors.Join(<-errs, <-errs))
	together := count.bytes.Swap(0)
	alone := overHTTP(t, repo)
	alone.HTTP = one.HTTP
	fetched(t, alone, revision)
	require.Less(t, together, count.bytes.Load()*3/2, "fetched once for both")
}
