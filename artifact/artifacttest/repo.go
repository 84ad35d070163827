package artifacttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Repo is a Git repository with a work tree, made by the git program, whose
// configuration of the machine and of the user is left out.
type Repo struct {
	Dir string // the work tree; Dir/.git is the repository
	t   testing.TB
	env []string
}

// NewRepo makes an empty repository with the default branch main. The test
// fails if there is no git program.
func NewRepo(t testing.TB) *Repo {
	t.Helper()
	_, err := exec.LookPath("git")
	require.NoError(t, err, "this test needs the program git")
	home := t.TempDir()
	r := &Repo{Dir: filepath.Join(t.TempDir(), "repo"), t: t, env: append(os.Environ(),
		"HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.org",
		"GIT_AUTHOR_DATE=2020-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2020-01-02T03:04:05Z",
	)}
	require.NoError(t, os.Mkdir(r.Dir, 0o755))
	r.Git("init", "--quiet", "--initial-branch=main")
	return r
}

// Git runs git in the work tree and returns what it printed, trimmed.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = r.Dir, r.env
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// Write writes a file of the work tree, and the folders above it.
func (r *Repo) Write(name, content string, mode os.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.Dir, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte(content), mode))
	require.NoError(r.t, os.Chmod(path, mode))
}

// Link makes a symbolic link in the work tree.
func (r *Repo) Link(name, target string) {
	r.t.Helper()
	require.NoError(r.t, os.Symlink(target, filepath.Join(r.Dir, name)))
}

// Commit commits everything in the work tree and returns the commit's hash.
func (r *Repo) Commit(message string) string {
	r.t.Helper()
	r.Git("add", "--all")
	r.Git("commit", "--quiet", "--allow-empty", "--message", message)
	return r.Git("rev-parse", "HEAD")
}
