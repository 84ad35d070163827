// Package artifacttest pins down what an [artifact.Source] promises.
//
// The author of a source calls [Run] from a test of its own and says, by a
// [Harness], how to open a source for a Git repository that the kit made with
// the git program. [Repo] is of use to other tests, too.
package artifacttest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
)

// Harness says how to make a source.
type Harness struct {
	// Open returns a source of repo, with caches of its own. What it needs
	// lives as long as the test. The kit goes on changing repo afterwards.
	Open func(t testing.TB, repo *Repo) artifact.Source
}

// promise is one thing that a source must keep.
type promise struct {
	name  string
	check func(t testing.TB, repo *Repo, open func() artifact.Source)
}

// Run checks every promise, each with a new repository.
func Run(t *testing.T, h Harness) {
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) { p.run(t, h) })
	}
}

func (p promise) run(t testing.TB, h Harness) {
	repo := NewRepo(t)
	p.check(t, repo, func() artifact.Source { return h.Open(t, repo) })
}

func promises() []promise {
	return []promise{
		{"ResolveNamesTheTip", resolveBranch},
		{"ResolveOfNothingIsTheDefaultBranch", resolveHead},
		{"ResolvePeelsTags", resolveTag},
		{"ResolveTakesAFullHash", resolveHash},
		{"ResolveSeesEveryMove", resolveMoves},
		{"MissingRefIsErrNoRef", missingRef},
		{"EmptyRepositoryIsErrNoRef", emptyRepository},
		{"FetchGivesExactFiles", fetchExact},
		{"FetchOfOldCommits", fetchOld},
		{"FetchAfterForcePush", fetchForcePush},
		{"FetchAfterTheBranchIsGone", fetchDeleted},
		{"FetchAgainGivesTheSame", fetchAgain},
		{"FetchBringsBackWhatWasRemoved", fetchBack},
		{"BranchesMayChangePlacesWithFolders", folderBranches},
		{"FetchIsConcurrent", fetchConcurrent},
		{"RefusesSubmodules", refusesSubmodules},
		{"RefusesLFSPointers", refusesLFS},
		{"RefusesLinksThatLeave", refusesLinks},
		{"ContextEndsEverything", contextEnds},
	}
}

// Files returns what is below dir: for a file its mode and content, for a
// link where it leads, for a folder its mode.
func Files(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = describe(path, d)
		return err
	}))
	return files
}

func describe(path string, d fs.DirEntry) (string, error) {
	info, err := d.Info()
	switch {
	case err != nil:
		return "", err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "-> " + target, err
	case info.IsDir():
		return info.Mode().String(), nil
	}
	b, err := os.ReadFile(path)
	return info.Mode().String() + " " + string(b), err
}

// resolve resolves a ref that exists.
func resolve(t testing.TB, s artifact.Source, ref string) string {
	t.Helper()
	revision, err := s.Resolve(t.Context(), ref)
	require.NoError(t, err)
	return revision
}

// fetch returns the files of a revision that exists.
func fetch(t testing.TB, s artifact.Source, revision string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, s.Fetch(t.Context(), revision, dir))
	return Files(t, dir)
}

// plain is what Files says of an ordinary file.
func plain(content string) string { return "-rw-r--r-- " + content }

// all runs n functions at once and waits for them.
func all(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// long is content that does not fit into one buffer, with a line of its own.
func long(line string) string { return strings.Repeat(line+"\n", 20_000) }
