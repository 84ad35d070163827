package artifacttest_test

import (
	"path/filepath"
	"testing"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// The test of a source of one's own. Here it is Git, for a local folder.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestSource
		artifacttest.Run(t, artifacttest.Harness{
			Open: func(t testing.TB, repo *artifacttest.Repo) artifact.Source {
				return &artifact.Git{URL: artifact.Dir(repo.Dir), Mirror: filepath.Join(t.TempDir(), "mirror.git")}
			},
		})
	}
}
