package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/artifact/artifacttest"
	"github.com/gostratos/stratos/store"
)

func TestNewHeadBecomesARelease(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.Build = func(_ context.Context, k artifact.Key, dir string, log io.Writer) ([]byte, error) {
		fmt.Fprintln(log, "building", k)
		return []byte(`{"cartridge":"x"}`), os.WriteFile(filepath.Join(dir, "built"), []byte("yes"), 0o600)
	}
	repo.Write("run", "#!", 0o755)
	first := repo.Commit("one")
	b.follow(repo)
	b.start("a")

	got := b.sync()
	require.Equal(t, artifact.Repository{V: artifact.Schema, URL: artifact.Dir(repo.Dir), Ref: "main", Head: first, At: got.At}, got)
	rel := b.release(first)
	require.Equal(t, artifact.Built, rel.State)
	require.Equal(t, "building acme/shop\n", rel.Log)
	require.Empty(t, rel.Reason)
	require.WithinDuration(t, time.Now(), rel.At, time.Minute)
	require.Equal(t, map[string]string{"run": "-rwxr-xr-x #!", "built": "-rw-r--r-- yes"}, b.files(rel.Archive))
	plan, err := b.Blobs.Get(t.Context(), rel.Plan)
	require.NoError(t, err)
	content, err := io.ReadAll(plan)
	require.NoError(t, errors.Join(err, plan.Close()))
	require.JSONEq(t, `{"cartridge":"x"}`, string(content))

	mod := b.repository().Mod
	require.Equal(t, got, b.sync())
	require.Equal(t, mod, b.repository().Mod, "nothing changed, nothing written")

	second := repo.Commit("two")
	require.Equal(t, second, b.sync().Head)
	require.Equal(t, rel.Archive, b.release(second).Archive, "the same files are the same blob")
	left, err := os.ReadDir(filepath.Join(b.Dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestFailedBuildIsRecordedOnce(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	var builds atomic.Int32
	b.Build = func(_ context.Context, _ artifact.Key, _ string, log io.Writer) ([]byte, error) {
		fmt.Fprintln(log, "no such package")
		if builds.Add(1) == 1 {
			return nil, errors.New("npm install: exit status 1")
		}
		return []byte("{}"), nil
	}
	first := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	for range 3 {
		got := b.sync()
		require.Equal(t, first, got.Head)
		require.Empty(t, got.Error, "the repository is fine")
	}
	require.EqualValues(t, 1, builds.Load())
	rel := b.release(first)
	require.Equal(t, artifact.Failed, rel.State)
	require.Equal(t, "npm install: exit status 1", rel.Reason)
	require.Equal(t, "no such package\n", rel.Log)
	require.Empty(t, rel.Archive)

	second := repo.Commit("two")
	require.Equal(t, second, b.sync().Head)
	require.Equal(t, artifact.Built, b.release(second).State)
	repo.Git("reset", "--quiet", "--hard", first)
	b.sync()
	require.Equal(t, artifact.Built, b.release(first).State, "coming back to it tries again")
	require.EqualValues(t, 3, builds.Load())
}

func TestWhatCannotBeReleasedFails(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		commit       func(*artifacttest.Repo)
		build        func(dir string) error
	}{
		{name: "a link in the commit", reason: "leaves the tree", commit: func(r *artifacttest.Repo) { r.Link("l", "../x") }},
		{name: "too many files", reason: "more than 3 files", commit: func(r *artifacttest.Repo) {
			for i := range 4 {
				r.Write(fmt.Sprint(i), "", 0o644)
			}
		}},
		{name: "a link that the build made", reason: `after the build: "venv" is refused`, build: func(dir string) error {
			return os.Symlink("/usr/bin/python3", filepath.Join(dir, "venv"))
		}},
		{name: "a big file that the build made", reason: "more than 1000 bytes", build: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "big"), make([]byte, 1001), 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, repo := newBench(t), artifacttest.NewRepo(t)
			b.Limits = archive.Limits{Files: 3, Bytes: 1000}
			if c.build != nil {
				b.Build = func(_ context.Context, _ artifact.Key, dir string, _ io.Writer) ([]byte, error) {
					return []byte("{}"), c.build(dir)
				}
			}
			if c.commit != nil {
				c.commit(repo)
			}
			revision := repo.Commit("one")
			b.follow(repo)
			b.start("a")
			require.Empty(t, b.sync().Error)
			require.Equal(t, artifact.Failed, b.release(revision).State)
			require.Contains(t, b.release(revision).Reason, c.reason)
		})
	}
}

func TestTransientErrorsAreTriedAgain(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	var back atomic.Bool
	b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
		if !back.Load() {
			return nil, fmt.Errorf("package mirror is away: %w", artifact.ErrTransient)
		}
		return []byte("{}"), nil
	}
	revision := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	require.Equal(t, "package mirror is away: try again", b.sync().Error)
	require.Empty(t, b.revisions(), "it says nothing about the revision")
	mod := b.repository().Mod
	b.sync()
	require.Equal(t, mod, b.repository().Mod, "the same error is written once")
	back.Store(true)
	got := b.sync()
	require.Empty(t, got.Error)
	require.Equal(t, revision, got.Head)
	require.Equal(t, artifact.Built, b.release(revision).State)
}

func TestUnreadableRepositoryIsSaid(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.follow(repo)
	b.start("a")
	require.Contains(t, b.sync().Error, "no such branch")
	require.Equal(t, artifact.RefNotFound, b.repository().Value.Problem)
	mod := b.repository().Mod
	require.Contains(t, b.sync().Error, "no such branch")
	require.Equal(t, mod, b.repository().Mod)

	head := repo.Commit("one")
	require.Equal(t, head, b.sync().Head)
	require.Empty(t, b.repository().Value.Error)
	require.Empty(t, b.repository().Value.Problem)
	require.NoError(t, os.RemoveAll(repo.Dir))
	gone := b.sync()
	require.Equal(t, artifact.RepoNotFound, gone.Problem)
	require.Contains(t, gone.Error, artifact.ErrNoRepository.Error())
	require.Equal(t, head, gone.Head, "what is known stays")
}

// TestProblemsHaveNames: programs tell the kinds of trouble apart.
func TestProblemsHaveNames(t *testing.T) {
	b := newBench(t)
	b.start("a")
	answers := func(code int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(server.Close)
		return server.URL + "/x.git"
	}
	for url, want := range map[string]artifact.Problem{
		answers(http.StatusUnauthorized):        artifact.RepoAuthFailed,
		answers(http.StatusNotFound):            artifact.RepoNotFound,
		answers(http.StatusInternalServerError): artifact.RepoUnreachable,
		"file:///etc":                           artifact.RepoURLRefused,
	} {
		b.Set(map[artifact.Key]artifact.Wish{shop: {URL: url}})
		require.Equal(t, want, b.sync().Problem, "%s: %s", url, b.repository().Value.Error)
	}
}

// TestNewCredentialsAreEnough: they are all that has to change.
func TestNewCredentialsAreEnough(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	head := repo.Commit("one")
	url := serve(t, repo, guarded(backend(t, repo), "git", "hunter2"))
	b.Poll = time.Hour
	b.start("a")
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: url, Credentials: artifact.Credentials{Password: "wrong"}}})
	require.Equal(t, artifact.RepoAuthFailed, b.sync().Problem)
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: url, Credentials: artifact.Credentials{Password: "hunter2"}}})
	require.Eventually(t, func() bool { return b.repository().Value.Head == head }, 30*time.Second, time.Millisecond)
	require.Empty(t, b.repository().Value.Problem)
	records, err := b.Store.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	for _, kv := range records.KVs {
		require.NotContains(t, string(kv.Value), "hunter2", kv.Key)
	}
}

// TestKeptCommitNeedsNoRepository: it is not asked for a commit whose release is there.
func TestKeptCommitNeedsNoRepository(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	one := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	require.Equal(t, one, b.sync().Head)
	two := repo.Commit("two")
	require.Equal(t, two, b.sync().Head)
	require.NoError(t, os.RemoveAll(repo.Dir))
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Dir(repo.Dir), Ref: strings.ToUpper(one)}})
	got := b.sync()
	require.Equal(t, one, got.Head)
	require.Empty(t, got.Error)
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Dir(repo.Dir), Ref: strings.Repeat("a", 40)}})
	require.Equal(t, artifact.RepoNotFound, b.sync().Problem)
}

func TestBuiltRevisionsAreNotBuiltAgain(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	var builds atomic.Int32
	b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
		builds.Add(1)
		return []byte("{}"), nil
	}
	repo.Write("f", "1", 0o644)
	first := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	b.sync()
	repo.Write("f", "2", 0o644)
	repo.Commit("two")
	b.sync()
	repo.Git("reset", "--quiet", "--hard", first)
	require.Equal(t, first, b.sync().Head, "rolled back by a force push")
	require.EqualValues(t, 2, builds.Load())

	repo.Commit("three")
	b.sync()
	require.NoError(t, b.Blobs.Delete(t.Context(), b.release(first).Plan))
	repo.Git("reset", "--quiet", "--hard", first)
	b.sync()
	require.EqualValues(t, 4, builds.Load(), "but one whose blobs are gone is")
}

func TestBuildTimeout(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.BuildTimeout = time.Millisecond
	b.Build = func(ctx context.Context, _ artifact.Key, _ string, _ io.Writer) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	head := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	b.sync()
	require.Equal(t, artifact.Failed, b.release(head).State)
	require.Contains(t, b.release(head).Reason, "longer than 1ms")
}

func TestLongLogsFitIntoTheStore(t *testing.T) {
	for _, c := range []struct{ name, output, first string }{
		{"long", "first\n" + strings.Repeat("a line\n", 50_000) + "last\n", "a line\n"},
		{"what JSON escapes", strings.Repeat("<&>\n", 50_000) + "last\n", "<&>\n"},
		{"control characters", "\x1b[31m" + strings.Repeat("\x00\x01\xff", 50_000) + "\nlast\n", "last\n"},
		{"one line", strings.Repeat("x", 300_000) + "last\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, repo := newBench(t), artifacttest.NewRepo(t)
			b.Build = func(_ context.Context, _ artifact.Key, _ string, log io.Writer) ([]byte, error) {
				_, err := io.WriteString(log, c.output)
				return nil, errors.Join(err, errors.New(strings.Repeat("long reason", 10_000)))
			}
			head := repo.Commit("one")
			b.follow(repo)
			b.start("a")
			b.sync()
			rel := b.release(head)
			require.Equal(t, artifact.Failed, rel.State)
			require.LessOrEqual(t, len(rel.Log), 64<<10)
			require.True(t, strings.HasPrefix(rel.Log, c.first), "%.40q", rel.Log)
			require.True(t, c.first == "" || strings.HasSuffix(rel.Log, "last\n"))
			require.NotContains(t, rel.Log, "\x1b")
		})
	}
}

func TestSynchroniseEndsWithItsContext(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	repo.Commit("one")
	b.follow(repo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Synchronise(ctx, shop) // nobody runs
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Synchronise(t.Context(), artifact.Key{Tenant: "acme", Alias: "unknown"})
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestManySynchroniseAtOnce(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	head := repo.Commit("one")
	b.follow(repo)
	b.start("a")
	var wg sync.WaitGroup
	var right atomic.Int32
	for range 20 {
		wg.Go(func() {
			if got, err := b.Synchronise(t.Context(), shop); err == nil && got.Head == head {
				right.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 20, right.Load())
}

func TestCheck(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	repo.Commit("one")
	require.NoError(t, b.Check(t.Context(), shop, artifact.Wish{URL: artifact.Dir(repo.Dir)}))
	require.NoError(t, b.Check(t.Context(), shop, artifact.Wish{URL: serve(t, repo, backend(t, repo)), Ref: "main"}))
	require.ErrorIs(t, b.Check(t.Context(), shop, artifact.Wish{URL: artifact.Dir(repo.Dir), Ref: "x"}), artifact.ErrNoRef)
	require.ErrorIs(t, b.Check(t.Context(), shop, artifact.Wish{URL: artifact.Dir(t.TempDir())}), artifact.ErrNoRepository)
	require.ErrorIs(t, b.Check(t.Context(), shop, artifact.Wish{URL: repo.Dir}), artifact.ErrURL)
	require.Error(t, b.Check(t.Context(), artifact.Key{Tenant: "..", Alias: "x"}, artifact.Wish{URL: artifact.Dir(repo.Dir)}))
	requireNoRecords(t, b.Store)
}
