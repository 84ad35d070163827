package artifact_test

import (
	"testing"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

func TestGitKeepsThePromises(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(t testing.TB, repo *artifacttest.Repo) artifact.Source
	}{
		{"work tree", func(_ testing.TB, repo *artifacttest.Repo) artifact.Source {
			return &artifact.Git{URL: artifact.Dir(repo.Dir)}
		}},
		{"http", func(t testing.TB, repo *artifacttest.Repo) artifact.Source { return overHTTP(t, repo) }},
		{"ssh", func(t testing.TB, repo *artifacttest.Repo) artifact.Source { return overSSH(t, repo) }},
		{"git", func(t testing.TB, repo *artifacttest.Repo) artifact.Source { return overGit(t, repo) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			artifacttest.Run(t, artifacttest.Harness{Open: c.open})
		})
	}
}
