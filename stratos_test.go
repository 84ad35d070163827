package stratos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/php"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

func TestMain(m *testing.M) {
	local.Main()
	if os.Getenv(controlEnv) != "" {
		os.Exit(controlMain())
	}
	os.Exit(m.Run())
}

// patience is how long a condition is waited for: far longer than it takes.
const patience = 90 * time.Second

const (
	app     = "app"
	cluster = topology.ClusterID("default.app")
)

// site is an application in a Git repository.
type site struct {
	t   testing.TB
	dir string
}

// appSource is a program that greets with a word, after a while (BOOT seconds),
// and has a few other answers: /slow?s=N, /download?s=N, /pid.
const appSource = `
import http.server, os, sys, time, urllib.parse
WORD = %q
time.sleep(float(os.environ.get("BOOT", "0")))
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        u = urllib.parse.urlsplit(self.path)
        s = float(urllib.parse.parse_qs(u.query).get("s", ["0"])[0])
        if u.path == "/download":
            self.send_response(200)
            self.send_header("Content-Length", str(100 * 1000))
            self.end_headers()
            for i in range(100):
                self.wfile.write(b"x" * 1000)
                self.wfile.flush()
                time.sleep(s / 100)
            return
        if u.path == "/slow":
            time.sleep(s)
        body = (str(os.getpid()) if u.path == "/pid" else WORD).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    request_queue_size = 256
print("greeting with", WORD, flush=True)
S(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`

func newSite(t testing.TB, word string) *site {
	t.Helper()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "repo")}
	require.NoError(t, os.MkdirAll(s.dir, 0o700))
	s.git("init", "-q", "-b", "main")
	s.commit(word)
	return s
}

// ask is the program that tells git the password of a remote.
func (s *site) ask() string { return filepath.Join(s.dir, ".git", "ask") }

func (s *site) env() []string {
	return append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+s.dir, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS="+s.ask(),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
}

func (s *site) git(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = s.dir
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// commit makes the site greet with a word, and returns the revision.
func (s *site) commit(word string) string {
	s.t.Helper()
	return s.commitFile("app.py", fmt.Sprintf(appSource, word))
}

func (s *site) commitFile(name, content string) string {
	s.t.Helper()
	s.write("Procfile", "web: python3 app.py\n")
	s.write(name, content)
	return s.commitAll()
}

// write puts a file there that is not committed yet.
func (s *site) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s.t, os.WriteFile(path, []byte(content), 0o600))
}

// commitAll commits what is there, and returns the revision.
func (s *site) commitAll() string {
	s.t.Helper()
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "change")
	return s.git("rev-parse", "HEAD")
}

// bed is a platform that runs in this process.
type bed struct {
	t   testing.TB
	ctx context.Context
	*stratos.Platform
	log    *syncBuffer
	stop   func()
	client *http.Client
	listen string // the balancer that is asked
}

// syncBuffer collects a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// testConfig is a flavour that decides quickly.
func testConfig(t testing.TB, dir string) stratos.Config {
	return stratos.Config{
		Name: "test", Dir: dir, Listen: freeAddr(t), API: freeAddr(t),
		Cartridges: []cartridge.Type{proc.Type{}, php.Type{}},
		Policies:   map[string]autoscale.Policy{"": autoscale.InFlight{PerMember: 10}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
		Interval:   500 * time.Millisecond, Poll: time.Hour, Boot: time.Minute,
	}
}

// newBed starts a platform; at the end of the test it is stopped, and nothing
// of it may be left.
func newBed(t testing.TB, change ...func(*stratos.Config)) *bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bed{t: t, ctx: ctx, log: &syncBuffer{}, client: &http.Client{Timeout: 60 * time.Second}}
	cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
	cfg.Log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range change {
		f(&cfg)
	}
	b.start(cfg)
	t.Cleanup(func() {
		b.stop()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, b.Shutdown(ctx))
		require.NoError(t, b.Close())
		b.client.CloseIdleConnections()
		require.Empty(t, processesOf(t, cfg.Dir), "processes are left over")
		require.Eventually(t, func() bool { return len(goroutines()) == 0 }, patience, 10*time.Millisecond,
			"goroutines are left behind: %s", goroutines())
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	return b
}

func (b *bed) start(cfg stratos.Config) {
	b.t.Helper()
	p, err := stratos.New(cfg)
	require.NoError(b.t, err)
	b.Platform, b.listen = p, cfg.Listen
	ctx, stop := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		stop()
		require.NoError(b.t, <-done)
	})
	require.Eventually(b.t, func() bool {
		resp, err := b.client.Get("http://" + cfg.API + "/healthz")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond)
}

// subscribe subscribes a site as app, and waits until it serves.
func (b *bed) subscribe(s *site, change ...func(*tenant.Subscription)) {
	b.t.Helper()
	sub := subscriptionOf(s, change...)
	require.NoError(b.t, b.Subscribe(b.ctx, sub))
	b.await("it serves", func(c *topology.ClusterView) bool {
		return c.Cluster.Current != nil && c.Count(topology.Active) >= max(1, sub.Min)
	})
}

func subscriptionOf(s *site, change ...func(*tenant.Subscription)) tenant.Subscription {
	sub := tenant.Subscription{Alias: app, Cartridge: "proc", Repository: tenant.Repository{URL: artifact.Dir(s.dir)}}
	for _, f := range change {
		f(&sub)
	}
	return sub
}

func sized(lo, hi int) func(*tenant.Subscription) {
	return func(s *tenant.Subscription) { s.Min, s.Max = lo, hi }
}

// await waits until the cluster is as wished.
func (b *bed) await(what string, ok func(*topology.ClusterView) bool) *topology.ClusterView {
	b.t.Helper()
	return b.awaitOf(cluster, what, ok)
}

// awaitOf waits until a cluster is as wished.
func (b *bed) awaitOf(id topology.ClusterID, what string, ok func(*topology.ClusterView) bool) *topology.ClusterView {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for rev := store.Revision(0); ; {
		v, err := b.Topology().Next(ctx, rev)
		if err != nil {
			b.t.Fatalf("waiting until %s: %v\n%s", what, err, b.describe())
		}
		if c := v.Cluster(id); c != nil && ok(c) {
			b.awaitRouted(v, id)
			return c
		}
		rev = v.Rev
	}
}

// awaitRouted waits until the balancer knows what a view says of a cluster that
// serves: it follows the topology, a moment later.
func (b *bed) awaitRouted(v *topology.View, id topology.ClusterID) {
	b.t.Helper()
	wanted := balancer.Routes(v).Clusters[id]
	if wanted == nil || len(wanted.Targets) == 0 {
		return
	}
	require.Eventually(b.t, func() bool {
		t := b.Applied()
		if t == nil {
			return false
		}
		got := t.Clusters[id]
		return t.Rev > v.Rev || got != nil && reflect.DeepEqual(got, wanted)
	}, patience, time.Millisecond, "the balancer does not know %+v", wanted)
}

func (b *bed) view() *topology.ClusterView {
	b.t.Helper()
	return b.await("there is a cluster", func(*topology.ClusterView) bool { return true })
}

func (b *bed) describe() string {
	v, err := b.Topology().Next(context.Background(), 0)
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for c := range v.Clusters() {
		fmt.Fprintf(&text, "%+v want %+v\n", c.Cluster, c.Want)
		for _, m := range c.Members() {
			fmt.Fprintf(&text, "  %+v\n", m.Member.Public())
		}
	}
	return text.String() + b.log.String()
}

// get asks the balancer for a page of the app.
func (b *bed) get(path string) (int, string, error) { return b.getFrom("app.localhost", path) }

// getFrom asks the balancer for a page of a host.
func (b *bed) getFrom(host, path string) (int, string, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, "http://"+b.listen+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (b *bed) page(path string) string {
	b.t.Helper()
	code, body, err := b.get(path)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, code, body)
	return body
}

// load keeps n requests in flight until it is stopped, and says what failed.
func (b *bed) load(n int, path string) (stop func() (sent int, failures []string)) {
	ctx, cancel := context.WithCancel(b.ctx)
	var mu sync.Mutex
	var sent int
	var failures []string
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				code, body, err := b.get(path)
				mu.Lock()
				sent++
				if err != nil || code != http.StatusOK {
					failures = append(failures, fmt.Sprintf("%d %s %v", code, body, err))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		cancel()
		all.Wait()
		return sent, failures
	}
}

// feed posts samples with so many requests in flight, ten a second, until done.
func (b *bed) feed(inFlight float64, done func() bool) {
	b.t.Helper()
	token, err := os.ReadFile(filepath.Join(b.Config().Dir, "admin.token"))
	require.NoError(b.t, err)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for seq := 1; !done(); seq++ {
		body := fmt.Sprintf(`{"source":"test","seq":%d,"cluster":"%s","seconds":0.1,"inFlightSeconds":%g,"arrivals":1,"served":1}`, seq, cluster, inFlight/10)
		req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://"+b.Config().API+"/v1/samples", strings.NewReader(body))
		require.NoError(b.t, err)
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := b.client.Do(req)
		require.NoError(b.t, err)
		require.NoError(b.t, resp.Body.Close())
		require.Equal(b.t, http.StatusNoContent, resp.StatusCode)
		<-tick.C
	}
}

// goroutines returns the stacks in which code of ours runs that is not a test.
func goroutines() (ours []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(stack, "github.com/gostratos/stratos") && !strings.Contains(stack, "stratos_test.") {
			ours = append(ours, stack)
		}
	}
	return ours
}

// processesOf lists the processes of instances below a folder: pid -> instance folder.
func processesOf(t testing.TB, dir string) map[int]string {
	t.Helper()
	abs, err := filepath.Abs(dir)
	require.NoError(t, err)
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue // it ended meanwhile
		}
		for _, v := range strings.Split(string(env), "\x00") {
			if folder, ok := strings.CutPrefix(v, "STRATOS_LOCAL_INSTANCE="); ok && strings.HasPrefix(folder, abs) {
				found[pid] = folder
			}
		}
	}
	return found
}

var errNoAgent = errors.New("no agent")

// agentPid is the process of a member's agent.
func agentPid(t testing.TB, dir string, m topology.Member) (int, error) {
	for pid, folder := range processesOf(t, dir) {
		if filepath.Base(folder) == string(m.Instance) && sessionLeader(pid) {
			return pid, nil
		}
	}
	return 0, errNoAgent
}

func sessionLeader(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	return len(fields) > 3 && fields[3] == strconv.Itoa(pid)
}
