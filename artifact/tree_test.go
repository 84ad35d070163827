package artifact_test

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// object writes an object that git itself would refuse to make.
func object(t *testing.T, repo *artifacttest.Repo, kind string, content []byte) string {
	t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", kind, "-w", "--stdin", "--literally")
	cmd.Dir, cmd.Stdin = repo.Dir, bytes.NewReader(content)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

func treeEntry(t *testing.T, mode, name, hash string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(hash)
	require.NoError(t, err)
	return append([]byte(mode+" "+name+"\x00"), raw...)
}

// TestEvilTrees has commits that no git program makes.
func TestEvilTrees(t *testing.T) {
	const file, link, dir = "100644", "120000", "40000"
	for _, c := range []struct {
		name, want string
		tree       func(t *testing.T, repo *artifacttest.Repo, blob string) []byte
	}{
		{"a folder .git", ".git", func(t *testing.T, repo *artifacttest.Repo, blob string) []byte {
			return treeEntry(t, dir, ".git", object(t, repo, "tree", treeEntry(t, file, "config", blob)))
		}},
		{"a file .GIT", ".GIT", func(t *testing.T, _ *artifacttest.Repo, blob string) []byte {
			return treeEntry(t, file, ".GIT", blob)
		}},
		{"a name that climbs", "not a file's name", func(t *testing.T, repo *artifacttest.Repo, blob string) []byte {
			return treeEntry(t, dir, "..", object(t, repo, "tree", treeEntry(t, file, "x", blob)))
		}},
		{"a name with a slash", "not a file's name", func(t *testing.T, _ *artifacttest.Repo, blob string) []byte {
			return treeEntry(t, file, "../x", blob)
		}},
		{"a file twice", "stands twice", func(t *testing.T, _ *artifacttest.Repo, blob string) []byte {
			return append(treeEntry(t, file, "x", blob), treeEntry(t, file, "x", blob)...)
		}},
		{"a file below a link", "", func(t *testing.T, repo *artifacttest.Repo, blob string) []byte {
			target := object(t, repo, "blob", []byte("."))
			sub := object(t, repo, "tree", treeEntry(t, file, "f", blob))
			return append(treeEntry(t, link, "x", target), treeEntry(t, dir, "x", sub)...)
		}},
		{"a link that is a megabyte long", "4096 bytes", func(t *testing.T, repo *artifacttest.Repo, _ string) []byte {
			return treeEntry(t, link, "x", object(t, repo, "blob", make([]byte, 1<<20)))
		}},
		{"a link without a target", "usable target", func(t *testing.T, repo *artifacttest.Repo, _ string) []byte {
			return treeEntry(t, link, "x", object(t, repo, "blob", nil))
		}},
		{"folders without end", "", func(t *testing.T, repo *artifacttest.Repo, blob string) []byte {
			tree := treeEntry(t, file, "f", blob)
			for range 20 { // two to the power of 20 files in 20 objects
				h := object(t, repo, "tree", tree)
				tree = append(treeEntry(t, dir, "a", h), treeEntry(t, dir, "b", h)...)
			}
			return tree
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := artifacttest.NewRepo(t)
			blob := object(t, repo, "blob", []byte("content"))
			tree := object(t, repo, "tree", c.tree(t, repo, blob))
			commit := commitOf(t, repo, tree)
			g := &artifact.Git{URL: artifact.Dir(repo.Dir)}
			g.Limits.Files = 100
			err := g.Fetch(t.Context(), commit, t.TempDir())
			require.ErrorContains(t, err, c.want)
			require.ErrorIs(t, err, artifact.ErrRelease)
		})
	}
}

func commitOf(t *testing.T, repo *artifacttest.Repo, tree string) string {
	t.Helper()
	return object(t, repo, "commit", []byte("tree "+tree+
		"\nauthor A <a@example.org> 1577934245 +0000\ncommitter A <a@example.org> 1577934245 +0000\n\nevil\n"))
}

func TestModesAreGitsOwn(t *testing.T) {
	repo := artifacttest.NewRepo(t)
	blob := object(t, repo, "blob", []byte("x"))
	tree := append(treeEntry(t, "104755", "setuid", blob), treeEntry(t, "100666", "writable", blob)...)
	commit := commitOf(t, repo, object(t, repo, "tree", tree))
	require.Equal(t, map[string]string{"setuid": "-rwxr-xr-x x", "writable": "-rw-r--r-- x"},
		fetched(t, &artifact.Git{URL: artifact.Dir(repo.Dir)}, commit))
}
