package artifacttest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
)

func resolveBranch(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Commit("one")
	repo.Git("checkout", "--quiet", "-b", "feature/with/slashes")
	feature := repo.Commit("two")
	repo.Git("checkout", "--quiet", "main")
	last := repo.Commit("three")
	s := open()
	require.Equal(t, last, resolve(t, s, "main"))
	require.Equal(t, feature, resolve(t, s, "feature/with/slashes"))
	require.Equal(t, feature, resolve(t, s, "refs/heads/feature/with/slashes"))
}

func resolveHead(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Commit("one")
	repo.Git("checkout", "--quiet", "-b", "trunk")
	trunk := repo.Commit("two")
	require.Equal(t, trunk, resolve(t, open(), ""), "HEAD is at trunk, not at main")
}

func resolveTag(t testing.TB, repo *Repo, open func() artifact.Source) {
	first := repo.Commit("one")
	repo.Git("tag", "light")
	repo.Git("tag", "--annotate", "--message", "m", "heavy")
	second := repo.Commit("two")
	repo.Git("tag", "both")
	repo.Commit("three")
	repo.Git("branch", "both", first)
	s := open()
	require.Equal(t, first, resolve(t, s, "light"))
	require.Equal(t, first, resolve(t, s, "heavy"), "the commit, not the tag")
	require.Equal(t, first, resolve(t, s, "refs/tags/heavy"))
	require.Equal(t, first, resolve(t, s, "both"), "a branch goes before a tag")
	require.Equal(t, second, resolve(t, s, "refs/tags/both"))
}

func resolveHash(t testing.TB, repo *Repo, open func() artifact.Source) {
	first := repo.Commit("one")
	second := repo.Commit("two")
	s := open()
	require.Equal(t, second, resolve(t, s, second))
	require.Equal(t, first, resolve(t, s, first), "no branch ends here")
	require.Equal(t, first, resolve(t, s, strings.ToUpper(first)))
}

func resolveMoves(t testing.TB, repo *Repo, open func() artifact.Source) {
	first := repo.Commit("one")
	s := open()
	require.Equal(t, first, resolve(t, s, "main"))
	second := repo.Commit("two")
	require.Equal(t, second, resolve(t, s, "main"))
	repo.Git("reset", "--quiet", "--hard", first)
	require.Equal(t, first, resolve(t, s, "main"), "a force push back")
}

func missingRef(t testing.TB, repo *Repo, open func() artifact.Source) {
	first := repo.Commit("one")
	s := open()
	for _, ref := range []string{"nowhere", "refs/heads/nowhere", strings.Repeat("ab", 20), first[:10], "ma", "-x"} {
		_, err := s.Resolve(t.Context(), ref)
		require.ErrorIs(t, err, artifact.ErrNoRef, ref)
	}
	require.ErrorIs(t, s.Fetch(t.Context(), strings.Repeat("ab", 20), t.TempDir()), artifact.ErrNoRef)
	require.ErrorIs(t, s.Fetch(t.Context(), "main", t.TempDir()), artifact.ErrNoRef, "only revisions are fetched")
}

func emptyRepository(t testing.TB, _ *Repo, open func() artifact.Source) {
	s := open()
	for _, ref := range []string{"", "main"} {
		_, err := s.Resolve(t.Context(), ref)
		require.ErrorIs(t, err, artifact.ErrNoRef)
	}
}

func fetchExact(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("empty", "", 0o644)
	repo.Write("crlf.txt", "one\r\ntwo\r\n", 0o644)
	repo.Write(".gitattributes", "*.txt text eol=lf export-ignore\n", 0o644)
	repo.Write("bin/run", "#!/bin/sh\n", 0o755)
	repo.Write("a/b/c/deep file", "\x00\x01\xff", 0o600)
	repo.Write("ünï", long("some content"), 0o644)
	repo.Link("bin/start", "run")
	repo.Link("dangling", "not/here")
	repo.Git("add", "--all")
	blob := repo.Git("hash-object", "-w", "--no-filters", "crlf.txt")
	repo.Git("update-index", "--add", "--cacheinfo", "100644,"+blob+",crlf.txt")
	repo.Git("commit", "--quiet", "--message", "all kinds")
	revision := repo.Git("rev-parse", "HEAD")
	require.Equal(t, map[string]string{
		"empty":           plain(""),
		"crlf.txt":        plain("one\r\ntwo\r\n"), // attributes change nothing
		".gitattributes":  plain("*.txt text eol=lf export-ignore\n"),
		"bin":             "drwxr-xr-x",
		"bin/run":         "-rwxr-xr-x #!/bin/sh\n",
		"bin/start":       "-> run",
		"dangling":        "-> not/here",
		"a":               "drwxr-xr-x",
		"a/b":             "drwxr-xr-x",
		"a/b/c":           "drwxr-xr-x",
		"a/b/c/deep file": plain("\x00\x01\xff"),
		"ünï":             plain(long("some content")),
	}, fetch(t, open(), revision))
}

func fetchOld(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("f", "1", 0o644)
	first := repo.Commit("one")
	repo.Git("tag", "--annotate", "--message", "m", "heavy")
	repo.Write("f", "2", 0o644)
	second := repo.Commit("two")
	repo.Write("f", "3", 0o644)
	third := repo.Commit("three")
	s := open()
	require.Equal(t, map[string]string{"f": plain("3")}, fetch(t, s, third))
	require.Equal(t, map[string]string{"f": plain("1")}, fetch(t, s, resolve(t, s, "heavy")))
	require.Equal(t, map[string]string{"f": plain("2")}, fetch(t, s, second), "nothing points here")
	require.Equal(t, map[string]string{"f": plain("1")}, fetch(t, open(), first))
	require.Equal(t, map[string]string{"f": plain("2")}, fetch(t, open(), second))
}

func fetchForcePush(t testing.TB, repo *Repo, open func() artifact.Source) {
	base := repo.Commit("base")
	repo.Write("f", "1", 0o644)
	s := open()
	require.Equal(t, map[string]string{"f": plain("1")}, fetch(t, s, repo.Commit("one")))
	repo.Git("reset", "--quiet", "--hard", base)
	repo.Write("g", "2", 0o644)
	require.Equal(t, map[string]string{"g": plain("2")}, fetch(t, s, repo.Commit("two")))
	repo.Git("checkout", "--quiet", "--orphan", "island")
	repo.Git("rm", "-r", "--quiet", "--force", ".")
	repo.Write("h", "3", 0o644)
	repo.Commit("three")
	repo.Git("branch", "--quiet", "--force", "main", "island")
	require.Equal(t, map[string]string{"h": plain("3")}, fetch(t, s, resolve(t, s, "main")), "no history in common")
}

func fetchDeleted(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Commit("base")
	repo.Git("checkout", "--quiet", "-b", "short-lived")
	repo.Write("f", "1", 0o644)
	revision := repo.Commit("one")
	s := open()
	want := fetch(t, s, resolve(t, s, "short-lived"))
	repo.Git("checkout", "--quiet", "main")
	repo.Git("branch", "--quiet", "-D", "short-lived")
	_, err := s.Resolve(t.Context(), "short-lived")
	require.ErrorIs(t, err, artifact.ErrNoRef)
	require.Equal(t, want, fetch(t, s, revision), "what was fetched once stays")
}

func fetchAgain(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("f", long("x"), 0o644)
	repo.Link("l", "f")
	revision := repo.Commit("one")
	s := open()
	want := fetch(t, s, revision)
	require.Equal(t, want, fetch(t, s, revision))
	require.Equal(t, want, fetch(t, open(), revision))
}

func fetchBack(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("f", "old", 0o644)
	repo.Commit("one")
	repo.Git("rm", "--quiet", "f")
	repo.Write("g", "g", 0o644)
	second := repo.Commit("two")
	s := open()
	require.Equal(t, map[string]string{"g": plain("g")}, fetch(t, s, second))
	repo.Write("f", "old", 0o644) // only the first commit has these bytes
	third := repo.Commit("three")
	require.Equal(t, map[string]string{"f": plain("old"), "g": plain("g")}, fetch(t, s, third))
}

func folderBranches(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Commit("base")
	s := open()
	for _, c := range []struct{ gone, branch string }{{"", "a"}, {"a", "a/b"}, {"a/b", "a"}} {
		if c.gone != "" {
			repo.Git("checkout", "--quiet", "main")
			repo.Git("branch", "--quiet", "-D", c.gone)
		}
		repo.Git("checkout", "--quiet", "-b", c.branch)
		repo.Write("f", c.gone+c.branch, 0o644)
		repo.Commit(c.branch)
		require.Equal(t, map[string]string{"f": plain(c.gone + c.branch)}, fetch(t, s, resolve(t, s, c.branch)))
	}
}

func fetchConcurrent(t testing.TB, repo *Repo, open func() artifact.Source) {
	const n = 4
	var revisions []string
	for i := range n {
		repo.Write("f", long(strings.Repeat("x", i)), 0o644)
		revisions = append(revisions, repo.Commit("next"))
	}
	s := open()
	var dirs [2 * n]string
	var errs [2 * n]error
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	all(2*n, func(i int) { errs[i] = s.Fetch(t.Context(), revisions[i%n], dirs[i]) })
	for i, err := range errs {
		require.NoError(t, err)
		require.Equal(t, map[string]string{"f": plain(long(strings.Repeat("x", i%n)))}, Files(t, dirs[i]))
	}
}

func refusesSubmodules(t testing.TB, repo *Repo, open func() artifact.Source) {
	base := repo.Commit("base")
	repo.Git("update-index", "--add", "--cacheinfo", "160000,"+base+",vendor/lib")
	repo.Git("commit", "--quiet", "--message", "submodule")
	refuses(t, open(), repo.Git("rev-parse", "HEAD"), "vendor/lib", "submodule")
}

func refusesLFS(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("img/big.png", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("0", 64)+"\nsize 12345\n", 0o644)
	refuses(t, open(), repo.Commit("pointer"), "img/big.png", "LFS")
}

func refusesLinks(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("d/f", "", 0o644)
	repo.Link("d/evil", "../../../etc/passwd")
	refuses(t, open(), repo.Commit("link"), "d/evil", "leaves the tree")
}

// refuses fetches what cannot be released, and looks for the words of the error.
func refuses(t testing.TB, s artifact.Source, revision string, words ...string) {
	t.Helper()
	err := s.Fetch(t.Context(), revision, t.TempDir())
	require.ErrorIs(t, err, artifact.ErrRelease)
	for _, w := range words {
		require.ErrorContains(t, err, w)
	}
}

func contextEnds(t testing.TB, repo *Repo, open func() artifact.Source) {
	repo.Write("f", "1", 0o644)
	revision := repo.Commit("one")
	s := open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Fetch(ctx, revision, t.TempDir()), context.Canceled)
	require.Equal(t, map[string]string{"f": plain("1")}, fetch(t, s, revision), "it did no harm")
}
