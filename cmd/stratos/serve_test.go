package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const wait, look = time.Minute, 50 * time.Millisecond

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, lis.Close())
	return lis.Addr().String()
}

// gitServer serves a repository whose program answers with a text, and returns its URL.
func gitServer(t *testing.T, text string) string {
	t.Helper()
	program, err := exec.LookPath("git")
	require.NoError(t, err, "this test needs the program git")
	root := t.TempDir()
	app := `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"` + text + `")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`
	require.NoError(t, os.WriteFile(filepath.Join(root, "main.py"), []byte(app), 0o600))
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-q", "-m", "first"}} {
		cmd := exec.Command(program, args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}
	server := httptest.NewServer(&cgi.Handler{
		Path: program, Args: []string{"http-backend"},
		Env: []string{"GIT_HTTP_EXPORT_ALL=1", "GIT_PROJECT_ROOT=" + root, "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "PATH=" + os.Getenv("PATH"),
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	t.Cleanup(server.Close)
	return server.URL + "/.git"
}

// served is a "stratos serve" in this process.
type served struct {
	cancel context.CancelFunc
	done   chan int
	log    *lockedBuffer
}

// lockedBuffer is written by the command, and read by the test meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startServe(t *testing.T, args ...string) *served {
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{cancel: cancel, done: make(chan int, 1), log: &lockedBuffer{}}
	var running sync.WaitGroup
	running.Go(func() { s.done <- run(ctx, append([]string{"serve"}, args...), io.Discard, s.log) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

// stop ends the command as a signal would, and returns its exit status.
func (s *served) stop(t *testing.T) int {
	t.Helper()
	s.cancel()
	select {
	case code := <-s.done:
		return code
	case <-time.After(2 * wait):
		t.Fatalf("serve does not end:\n%s", s.log)
		return -1
	}
}

// get asks a platform for an alias' page.
func get(listen, alias string) string {
	req, err := http.NewRequest(http.MethodGet, "http://"+listen+"/", nil)
	if err != nil {
		return err.Error()
	}
	req.Host = alias + ".localhost"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

// TestServe goes through a platform's life: a subscription that works and one
// that does not, an end that leaves the member, a start that adopts it, and an
// end that leaves nothing.
func TestServe(t *testing.T) {
	dir, listen := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	path := filepath.Join(t.TempDir(), "stratos.yaml")
	write := func(maximum int) {
		text := fmt.Sprintf(`{name: test, dir: %q, listen: %q, api: %q, interval: 500ms, heartbeat: 1s, drain: 1s, subscriptions: [
  {alias: nowhere, cartridge: proc, repository: {url: "http://%s/none.git"}},
  {alias: app, cartridge: proc, repository: {url: %q}, min: 1, max: %d}]}`, dir, listen, freeAddress(t), freeAddress(t), gitServer(t, "hello"), maximum)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write(2)
	t.Cleanup(func() { endProcesses(t, dir) }) // what a failure leaves
	s := startServe(t, "-config", path)
	require.Eventually(t, func() bool { return get(listen, "app") == "200 hello" }, wait, look, "no answer:\n%s", s.log)
	require.Contains(t, s.log.String(), "level=INFO msg=subscribed tenant=default alias=app min=1 max=2")
	require.Contains(t, s.log.String(), `level=ERROR msg="not subscribed; trying again and again" tenant=default alias=nowhere`)
	require.Zero(t, s.stop(t), s.log)
	require.Contains(t, s.log.String(), "stratos: the members go on")
	agents := processesOf(t, dir)
	require.NotEmpty(t, agents, "the members outlive serve")

	s = startServe(t, "-c", path, "--shutdown", "--log-level", "info")
	require.Eventually(t, func() bool { return get(listen, "app") == "200 hello" }, wait, look, "no answer:\n%s", s.log)
	require.Eventually(t, func() bool {
		return strings.Contains(s.log.String(), `msg="subscribed before: its bounds are as in the file" tenant=default alias=app min=1 max=2`)
	}, wait, look, "%s", s.log)
	require.Subset(t, processesOf(t, dir), agents, "the member was not adopted:\n%s", s.log)
	require.Zero(t, s.stop(t), s.log)
	require.Empty(t, processesOf(t, dir), "--shutdown left something running:\n%s", s.log)
}

// TestServeInUse checks that a mistake of the machine ends serve with 1.
func TestServeInUse(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer lis.Close()
	path := filepath.Join(t.TempDir(), "stratos.yaml")
	text := fmt.Sprintf("{dir: %q, listen: %q, api: %q}", filepath.Join(t.TempDir(), "data"), lis.Addr(), freeAddress(t))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s := startServe(t, "-c", path)
	select {
	case code := <-s.done:
		require.Equal(t, 1, code)
	case <-time.After(wait):
		t.Fatal("serve does not end")
	}
	require.Contains(t, s.log.String(), "stratos: the balancer address "+lis.Addr().String()+" is in use by another program")
}

// endProcesses kills what runs below a folder. A program ends with its agent.
func endProcesses(t *testing.T, dir string) {
	for _, p := range processesOf(t, dir) {
		pid, err := strconv.Atoi(p)
		require.NoError(t, err)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d stays: %v", pid, err)
		}
	}
}

// processesOf returns the ids of the processes that run below a folder.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	var in []string
	for _, p := range all {
		for _, link := range []string{"exe", "cwd"} {
			if at, err := os.Readlink(filepath.Join(p, link)); err == nil && strings.HasPrefix(at, dir+"/") {
				in = append(in, filepath.Base(p))
				break
			}
		}
	}
	return in
}
