package artifacttest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
)

// mutant is a source that breaks what its functions break.
type mutant struct {
	artifact.Source
	resolve func(ctx context.Context, s artifact.Source, ref string) (string, error)
	fetch   func(ctx context.Context, s artifact.Source, revision, dir string) error
}

func (m mutant) Resolve(ctx context.Context, ref string) (string, error) {
	if m.resolve != nil {
		return m.resolve(ctx, m.Source, ref)
	}
	return m.Source.Resolve(ctx, ref)
}

func (m mutant) Fetch(ctx context.Context, revision, dir string) error {
	if m.fetch != nil {
		return m.fetch(ctx, m.Source, revision, dir)
	}
	return m.Source.Fetch(ctx, revision, dir)
}

// after fetches as it should be done, then spoils every file.
func after(spoil func(path string, info fs.FileInfo) error) func(context.Context, artifact.Source, string, string) error {
	return func(ctx context.Context, s artifact.Source, revision, dir string) error {
		if err := s.Fetch(ctx, revision, dir); err != nil {
			return err
		}
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			return spoil(path, info)
		})
	}
}

// TestTheKitSeesWhatIsBroken breaks a good source, one promise at a time.
func TestTheKitSeesWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		name, promise string
		broken        func() mutant // of every source that is opened
	}{
		{"any ref is HEAD", "ResolveNamesTheTip", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, _ string) (string, error) { return s.Resolve(ctx, "") }}
		}},
		{"slashes are lost", "ResolveNamesTheTip", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				return s.Resolve(ctx, filepath.Base(ref))
			}}
		}},
		{"the default branch is main", "ResolveOfNothingIsTheDefaultBranch", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				if ref == "" {
					ref = "main"
				}
				return s.Resolve(ctx, ref)
			}}
		}},
		{"tags go before branches", "ResolvePeelsTags", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				if h, err := s.Resolve(ctx, "refs/tags/"+ref); err == nil {
					return h, nil
				}
				return s.Resolve(ctx, ref)
			}}
		}},
		{"hashes are unknown", "ResolveTakesAFullHash", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				if len(ref) == 40 {
					return "", artifact.ErrNoRef
				}
				return s.Resolve(ctx, ref)
			}}
		}},
		{"hashes are believed", "MissingRefIsErrNoRef", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				if len(ref) == 40 {
					return ref, nil
				}
				return s.Resolve(ctx, ref)
			}}
		}},
		{"answers are remembered", "ResolveSeesEveryMove", func() mutant {
			var known sync.Map
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				if h, ok := known.Load(ref); ok {
					return h.(string), nil
				}
				h, err := s.Resolve(ctx, ref)
				known.Store(ref, h)
				return h, err
			}}
		}},
		{"an error of its own", "EmptyRepositoryIsErrNoRef", func() mutant {
			return mutant{resolve: func(ctx context.Context, s artifact.Source, ref string) (string, error) {
				h, err := s.Resolve(ctx, ref)
				if err != nil {
					err = errors.New(err.Error())
				}
				return h, err
			}}
		}},
		{"modes are lost", "FetchGivesExactFiles", func() mutant {
			return mutant{fetch: after(func(path string, info fs.FileInfo) error {
				if info.Mode().IsRegular() {
					return os.Chmod(path, 0o644)
				}
				return nil
			})}
		}},
		{"links become files", "FetchGivesExactFiles", func() mutant {
			return mutant{fetch: after(func(path string, info fs.FileInfo) error {
				if info.Mode()&fs.ModeSymlink == 0 {
					return nil
				}
				target, err := os.Readlink(path)
				return errors.Join(err, os.Remove(path), os.WriteFile(path, []byte(target), 0o644))
			})}
		}},
		{"line ends are converted", "FetchGivesExactFiles", func() mutant {
			return mutant{fetch: after(func(path string, info fs.FileInfo) error {
				if !info.Mode().IsRegular() {
					return nil
				}
				b, err := os.ReadFile(path)
				return errors.Join(err, os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "\r\n", "\n")), info.Mode()))
			})}
		}},
		{"only tips are fetched", "FetchOfOldCommits", func() mutant {
			return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
				if tip, err := s.Resolve(ctx, ""); err != nil || tip != revision {
					return artifact.ErrNoRef
				}
				return s.Fetch(ctx, revision, dir)
			}}
		}},
		{"always the tip", "FetchOfOldCommits", func() mutant {
			return mutant{fetch: func(ctx context.Context, s artifact.Source, _, dir string) error {
				tip, err := s.Resolve(ctx, "")
				return errors.Join(err, s.Fetch(ctx, tip, dir))
			}}
		}},
		{"only once", "FetchAgainGivesTheSame", func() mutant {
			var done atomic.Bool
			return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
				if done.Swap(true) {
					return nil
				}
				return s.Fetch(ctx, revision, dir)
			}}
		}},
		{"stale after a force push", "FetchAfterForcePush", func() mutant { return firstFetch() }},
		{"stale after a change of branches", "BranchesMayChangePlacesWithFolders", func() mutant { return firstFetch() }},
		{"stale after a removal", "FetchBringsBackWhatWasRemoved", func() mutant { return firstFetch() }},
		{"only what a branch names", "FetchAfterTheBranchIsGone", func() mutant {
			return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
				if _, err := s.Resolve(ctx, "short-lived"); err != nil {
					return err
				}
				return s.Fetch(ctx, revision, dir)
			}}
		}},
		{"one at a time, or none", "FetchIsConcurrent", func() mutant {
			var busy atomic.Int32
			met := make(chan struct{})
			return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
				switch busy.Add(1) {
				case 1:
					<-met // until there is a second
				case 2:
					close(met)
					return errors.New("busy")
				}
				return s.Fetch(ctx, revision, dir)
			}}
		}},
		{"submodules are passed over", "RefusesSubmodules", func() mutant { return lenient() }},
		{"pointers are passed on", "RefusesLFSPointers", func() mutant { return lenient() }},
		{"links are trusted", "RefusesLinksThatLeave", func() mutant { return lenient() }},
		{"contexts are ignored", "ContextEndsEverything", func() mutant {
			return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
				return s.Fetch(context.WithoutCancel(ctx), revision, dir)
			}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.False(t, passes(t, c.promise, func(s artifact.Source) artifact.Source {
				m := c.broken()
				m.Source = s
				return m
			}), "%s must not pass", c.promise)
		})
	}
}

// firstFetch gives the files of the first fetch for ever.
func firstFetch() mutant {
	var first sync.Map
	return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
		known, _ := first.LoadOrStore("revision", revision)
		return s.Fetch(ctx, known.(string), dir)
	}}
}

// lenient forgives what must be refused.
func lenient() mutant {
	return mutant{fetch: func(ctx context.Context, s artifact.Source, revision, dir string) error {
		err := s.Fetch(ctx, revision, dir)
		if errors.Is(err, artifact.ErrRelease) {
			return nil
		}
		return err
	}}
}

// TestEveryPromisePassesUnbroken is the other half: it is not the kit that fails.
func TestEveryPromisePassesUnbroken(t *testing.T) {
	for _, p := range promises() {
		require.True(t, passes(t, p.name, func(s artifact.Source) artifact.Source { return s }), p.name)
	}
}

// passes reports whether a promise holds for Git, changed.
func passes(t *testing.T, name string, change func(artifact.Source) artifact.Source) bool {
	t.Helper()
	for _, p := range promises() {
		if p.name != name {
			continue
		}
		r := &recorder{TB: t}
		var wg sync.WaitGroup
		wg.Go(func() {
			p.run(r, Harness{Open: func(_ testing.TB, repo *Repo) artifact.Source {
				return change(&artifact.Git{URL: artifact.Dir(repo.Dir)})
			}})
		})
		wg.Wait()
		return !r.failed.Load()
	}
	require.Fail(t, "no such promise", name)
	return false
}

// recorder is a test that may fail without consequences.
type recorder struct {
	testing.TB
	failed atomic.Bool
}

func (r *recorder) Errorf(string, ...any) { r.failed.Store(true) }

func (r *recorder) FailNow() {
	r.failed.Store(true)
	runtime.Goexit()
}
