package partition

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/internal/testprograms"
	"github.com/gostratos/stratos/tenant"
)

// Hosts of the world.
const (
	hostState     = "state" // etcd, the bucket and the repository
	hostA, hostB  = "a", "b"
	hostInstances = "inst"
	hostBalancer  = "lb"
	hostClient    = "client"
)

// hosts are all of them.
func hosts() []string {
	return []string{hostA, hostB, hostState, hostInstances, hostBalancer, hostClient}
}

// address is where a host is.
func address(host string) string {
	return fmt.Sprintf("10.77.0.%d", 1+slices.Index(hosts(), host))
}

const greeting = "hello from the app"

// world is all that runs.
type world struct {
	Options
	net      *network
	program  string // stratos
	replicas []*replica
	others   []*process
	balancer *process
}

// replica is one control plane.
type replica struct {
	name, url, dir string
	process        *process
	api            *client.Client
}

// build makes the world, step by step, and returns when the app is served.
func (w *world) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		w.makeNetwork, w.compile, w.makeCertificates, w.startState, w.awaitState, w.startControl, w.startBalancer, w.awaitApp,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) makeNetwork(context.Context) (err error) {
	w.net, err = newNetwork(hosts())
	return err
}

// compile builds the command, from the repository that the test runs in.
func (w *world) compile(ctx context.Context) error {
	w.program = filepath.Join(w.Dir, "stratos")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", w.program, "github.com/gostratos/stratos/cmd/stratos")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}

func (w *world) path(name string) string { return filepath.Join(w.Dir, name) }

// makeCertificates makes those of etcd and the bucket: the operator's, not the platform's.
func (w *world) makeCertificates(context.Context) error {
	authority, err := ca.New("operator", time.Now())
	if err != nil {
		return err
	}
	key, err := ca.NewKey()
	if err != nil {
		return err
	}
	csr, err := ca.Request(key)
	if err != nil {
		return err
	}
	cert, err := authority.Sign(csr, ca.Identity{Kind: ca.Replica, Name: "state", Names: []string{address(hostState)}}, time.Now())
	if err != nil {
		return err
	}
	keyPEM, err := ca.MarshalKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(w.path("operator.pem"), authority.CertPEM(), 0o600),
		os.WriteFile(w.path("state.crt"), cert, 0o600),
		os.WriteFile(w.path("state.key"), keyPEM, 0o600),
	)
}

// run starts a program on a host.
func (w *world) run(host, name string, env []string, program string, args ...string) (*process, error) {
	cmd := w.net.command(context.Background(), host, program, args...)
	cmd.Dir = w.Dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.Dir}, env...)
	return start(context.Background(), cmd, w.path(name+".log"))
}

// startState starts etcd, the bucket, and the repository's server.
func (w *world) startState(context.Context) error {
	etcd, err := testprograms.Find("etcd")
	if err != nil {
		return err
	}
	gateway, err := testprograms.Find("versitygw")
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(w.path("bucket/blobs"), 0o700), w.makeRepository()); err != nil {
		return err
	}
	at := address(hostState)
	for _, p := range []struct {
		name string
		env  []string
		args []string
	}{
		{"etcd", nil, []string{etcd, "--name", "one", "--data-dir", w.path("etcd"),
			"--listen-client-urls", "https://" + at + ":2379", "--advertise-client-urls", "https://" + at + ":2379",
			"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
			"--initial-cluster", "one=http://127.0.0.1:2380",
			"--cert-file", w.path("state.crt"), "--key-file", w.path("state.key"),
			"--client-cert-auth", "--trusted-ca-file", w.path("operator.pem")}},
		{"versitygw", []string{"ROOT_ACCESS_KEY=access", "ROOT_SECRET_KEY=a-secret-of-tests"},
			[]string{gateway, "--port", at + ":9000", "--cert", w.path("state.crt"), "--key", w.path("state.key"), "--quiet", "posix", w.path("bucket")}},
		{"git", nil, []string{"git", "daemon", "--reuseaddr", "--listen=" + at, "--export-all", "--base-path=" + w.path("repositories"), w.path("repositories")}},
	} {
		started, err := w.run(hostState, p.name, p.env, p.args[0], p.args[1:]...)
		if err != nil {
			return err
		}
		w.others = append(w.others, started)
	}
	return nil
}

// awaitState waits until all of them take connections.
func (w *world) awaitState(ctx context.Context) error {
	dial := w.net.dialer(hostClient)
	for _, port := range []string{"2379", "9000", "9418"} {
		err := w.await(ctx, time.Minute, "port "+port+" of the state's host answers", func(ctx context.Context) bool {
			c, err := dial(ctx, "tcp", address(hostState)+":"+port)
			return err == nil && c.Close() == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// makeRepository makes an app that greets.
func (w *world) makeRepository() error {
	dir := w.path("repositories/app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	const app = `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"` + greeting + `"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    request_queue_size = 128
S(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o600),
		os.WriteFile(filepath.Join(dir, "Procfile"), []byte("web: python3 app.py\n"), 0o600),
	)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-qm", "first"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+w.Dir,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
		if out, gerr := cmd.CombinedOutput(); gerr != nil {
			err = errors.Join(err, fmt.Errorf("git %v: %w: %s", args, gerr, out))
		}
	}
	return err
}

// startControl starts the first replica, and the second with the first one's master key.
func (w *world) startControl(ctx context.Context) error {
	urls := controlURLs()
	for i, host := range []string{hostA, hostB} {
		r := &replica{name: host, url: urls[i], dir: w.path("control-" + host)}
		w.replicas = append(w.replicas, r)
		if err := w.configure(r, urls, 2); err != nil {
			return err
		}
		if err := w.startReplica(r); err != nil {
			return err
		}
		if err := w.await(ctx, time.Minute, "replica "+host+" has a token", func(context.Context) bool {
			_, err := os.Stat(filepath.Join(r.dir, "admin.token"))
			return err == nil
		}); err != nil {
			return err
		}
		if err := w.connect(r); err != nil {
			return err
		}
	}
	_, _, err := w.leader(ctx)
	return err
}

func controlURLs() []string {
	return []string{"https://" + address(hostA) + ":8080", "https://" + address(hostB) + ":8080"}
}

// connect makes the operator's client of a replica.
func (w *world) connect(r *replica) error {
	token, err := os.ReadFile(filepath.Join(r.dir, "admin.token"))
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(filepath.Join(r.dir, "ca.pem"))
	if err != nil {
		return err
	}
	pool, err := ca.Pool(roots)
	if err != nil {
		return err
	}
	r.api = &client.Client{
		URLs: []string{r.url}, Token: strings.TrimSpace(string(token)), Timeout: 3 * time.Second,
		HTTP: &http.Client{Transport: &http.Transport{
			DialContext: w.net.dialer(hostClient), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool},
		}},
	}
	return nil
}

// configure writes a replica's file, with so many members.
func (w *world) configure(r *replica, urls []string, members int) error {
	text := fmt.Sprintf(`name: cut
dir: %[1]s
listen: none
api: %[2]s:8080
replicas: [%[3]s]
masterKey: %[4]s/master.key
heartbeat: 2s
grace: 20s
interval: 1s
store:
  etcd: {endpoints: ["https://%[5]s:2379"], ca: %[4]s/operator.pem, cert: %[4]s/state.crt, key: %[4]s/state.key}
blobs:
  s3: {bucket: blobs, endpoint: "https://%[5]s:9000", pathStyle: true, ca: %[4]s/operator.pem}
accounts:
  - {name: here, dir: %[4]s/instances, address: %[6]s, wrap: [ip, netns, exec, %[7]s]}
subscriptions:
  - {alias: app, cartridge: proc, repository: {url: "git://%[5]s/app"}, min: %[8]d, max: %[8]d}
`, r.dir, address(r.name), strings.Join(urls, ", "), w.Dir, address(hostState), address(hostInstances), w.net.ns(hostInstances), members)
	return os.WriteFile(w.path(r.name+".yaml"), []byte(text), 0o600)
}

func (w *world) startReplica(r *replica) (err error) {
	r.process, err = w.run(r.name, "control-"+r.name,
		[]string{"AWS_ACCESS_KEY_ID=access", "AWS_SECRET_ACCESS_KEY=a-secret-of-tests", "AWS_EC2_METADATA_DISABLED=true"},
		w.program, "serve", "--config", w.path(r.name+".yaml"), "--log-level", "debug")
	return err
}

// startBalancer starts the balancer with a token of its own.
func (w *world) startBalancer(ctx context.Context) error {
	secret, err := w.replicas[0].api.NewToken(ctx, tenant.TokenBalancer, "edge")
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("edge.token"), []byte(secret), 0o600); err != nil {
		return err
	}
	w.balancer, err = w.run(hostBalancer, "balancer", nil, w.program, "balancer",
		"--control", w.replicas[0].url+","+w.replicas[1].url, "--token-file", w.path("edge.token"),
		"--ca", filepath.Join(w.replicas[0].dir, "ca.pem"), "--dir", w.path("edge"),
		"--listen", address(hostBalancer)+":8000", "--log-level", "debug")
	return err
}

func (w *world) awaitApp(ctx context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: w.net.dialer(hostClient), DisableKeepAlives: true}}
	return w.await(ctx, 2*time.Minute, "the app is served", func(ctx context.Context) bool {
		return w.page(ctx, client) == nil
	})
}

// await waits for a condition.
func (w *world) await(ctx context.Context, limit time.Duration, what string, so func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s", limit, what)
		}
	}
	return nil
}

// words are what everybody said last.
func (w *world) words() string {
	var b strings.Builder
	say := func(name string, p *process) { fmt.Fprintf(&b, "--- %s\n%s\n", name, p.tail()) }
	for _, r := range w.replicas {
		say(r.name, r.process)
	}
	say("balancer", w.balancer)
	for _, p := range w.others {
		say(filepath.Base(p.log), p)
	}
	return b.String()
}

// close ends everything, instances too: all that runs in the namespaces.
func (w *world) close() error {
	for _, r := range w.replicas {
		r.process.kill()
	}
	w.balancer.kill()
	for _, p := range w.others {
		p.kill()
	}
	if w.net == nil {
		return nil
	}
	return errors.Join(endAll(w.net.names), w.net.close())
}
