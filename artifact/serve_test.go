package artifact_test

import (
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
)

// gitEnv is the environment of git programs that serve repositories.
func gitEnv(t testing.TB) []string {
	return []string{"HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "PATH=" + os.Getenv("PATH"), "GIT_HTTP_EXPORT_ALL=1"}
}

// backend is git's own HTTP server for repo.
func backend(t testing.TB, repo *artifacttest.Repo) http.Handler {
	t.Helper()
	program, err := exec.LookPath("git")
	require.NoError(t, err, "this test needs the program git")
	return &cgi.Handler{
		Path: program, Args: []string{"http-backend"},
		Env:    append(gitEnv(t), "GIT_PROJECT_ROOT="+filepath.Dir(repo.Dir)),
		Stderr: testWriter{t},
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// serve serves h and returns the URL of repo on it.
func serve(t testing.TB, repo *artifacttest.Repo, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(repo.Dir) + "/.git"
}

// overHTTP is a source that reads repo from git's HTTP server.
func overHTTP(t testing.TB, repo *artifacttest.Repo) *artifact.Git {
	t.Helper()
	return &artifact.Git{URL: serve(t, repo, backend(t, repo)), Mirror: filepath.Join(t.TempDir(), "mirror.git")}
}

// overGit is a source that reads repo from git's own daemon.
func overGit(t testing.TB, repo *artifacttest.Repo) *artifact.Git {
	t.Helper()
	address := listen(t, func(conn net.Conn) {
		daemon := exec.Command("git", "daemon", "--inetd", "--export-all", "--base-path="+filepath.Dir(repo.Dir))
		daemon.Env = gitEnv(t)
		daemon.Stdin, daemon.Stdout = conn, conn
		_ = daemon.Run() // it fails when the client hangs up
	})
	return &artifact.Git{URL: "git://" + address + "/" + filepath.Base(repo.Dir) + "/.git", Mirror: filepath.Join(t.TempDir(), "mirror.git")}
}

// listen serves connections until the test ends, and returns the address.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveConns(t, l, serve)
	return l.Addr().String()
}

// serveConns serves each connection in a goroutine until the test ends.
func serveConns(t testing.TB, l net.Listener, serve func(net.Conn)) {
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
}
