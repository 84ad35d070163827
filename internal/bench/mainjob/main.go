// Command mainjob measures the main job on this machine: how long a launch
// takes, what an idle control plane costs, and how soon the example serves.
//
//	make bench-main
//
// It prints each figure beside its target, as medians of several runs. Nothing
// here passes or fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

const (
	runs      = 11
	idleFor   = 30 * time.Second
	idleEnv   = "STRATOS_BENCH_IDLE" // makes this program the idle control plane
	clusterID = topology.ClusterID("default.app")
)

// app boots in a tenth of a second and answers with its process number and the
// word of its commit. It is committed as a binary: builds are not measured.
const app = `package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	time.Sleep(100 * time.Millisecond)
	word, _ := os.ReadFile("word")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%d %s", os.Getpid(), word) })
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
`

func main() {
	local.Main()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench-main:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if dir := os.Getenv(idleEnv); dir != "" {
		return idle(dir)
	}
	dir, err := os.MkdirTemp("", "stratos-bench-")
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s/%s, %d cores\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	err = errors.Join(launches(ctx, dir), idleCost(ctx, dir), example(ctx, dir))
	return errors.Join(err, os.RemoveAll(dir))
}

func config(dir string) stratos.Config {
	return stratos.Config{
		Name: "bench", Dir: dir, Listen: freeAddr(), API: freeAddr(),
		Cartridges: []cartridge.Type{proc.Type{}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
	}
}

// launches measures from the launch decision (the member is recorded) to the
// first answer of that member through the balancer.
func launches(ctx context.Context, dir string) (err error) {
	repo, err := repository(filepath.Join(dir, "app"))
	if err != nil {
		return err
	}
	p, err := stratos.New(config(filepath.Join(dir, "launch.data")))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	sub := tenant.Subscription{Alias: "app", Cartridge: "proc", Min: 1, Max: 1, Repository: tenant.Repository{URL: artifact.Dir(repo)}}
	if err := p.Subscribe(ctx, sub); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error {
		defer stop()
		if err := measureLaunches(ctx, p); err != nil {
			return err
		}
		return measureSwitches(ctx, p, repo)
	})
	err = g.Wait()
	ending, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, p.Shutdown(ending))
}

func measureLaunches(ctx context.Context, p *stratos.Platform) error {
	var took []time.Duration
	for range runs {
		known, err := members(ctx, p, 1)
		if err != nil {
			return err
		}
		if err := p.Scale(ctx, tenant.Default, "app", 2, 2); err != nil {
			return err
		}
		served, err := answeredByAnother(ctx, p.Config().Listen)
		if err != nil {
			return err
		}
		now, err := members(ctx, p, 2)
		if err != nil {
			return err
		}
		for _, m := range now {
			if !slices.ContainsFunc(known, func(k topology.MemberRecord) bool { return k.ID == m.ID }) {
				took = append(took, served.Sub(m.Created))
			}
		}
		if err := p.Scale(ctx, tenant.Default, "app", 1, 1); err != nil {
			return err
		}
	}
	report("launch decision to served, an app that boots in 0.1 s", took, "<= 0.5 s")
	return nil
}

// measureSwitches measures from the call that tells of a commit to the first
// answer of its release, under load, and counts the requests that failed.
func measureSwitches(ctx context.Context, p *stratos.Platform, repo string) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var sent, failed atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for loading.Err() == nil {
				if _, err := ask(ctx, p.Config().Listen, "app.localhost"); err != nil {
					failed.Add(1)
				}
				sent.Add(1)
			}
		})
	}
	var took []time.Duration
	for i := range runs {
		word := fmt.Sprintf("word%d", i)
		if err := commit(repo, word); err != nil {
			return err
		}
		began := time.Now()
		if err := p.Synchronise(ctx, tenant.Default, "app"); err != nil {
			return err
		}
		for page := ""; !strings.HasSuffix(page, word); {
			var err error
			if page, err = ask(ctx, p.Config().Listen, "app.localhost"); err != nil {
				return err
			}
		}
		took = append(took, time.Since(began))
		if _, err := members(ctx, p, 1); err != nil {
			return err
		}
	}
	stop()
	load.Wait()
	report("commit told to its page served, under load", took, "<= 1 s")
	fmt.Printf("%-55s %8d of %d (target 0)\n", "requests that failed meanwhile", failed.Load(), sent.Load())
	return nil
}

// members waits until exactly n members are Active and none is on its way.
func members(ctx context.Context, p *stratos.Platform, n int) ([]topology.MemberRecord, error) {
	for rev := store.Revision(0); ; {
		v, err := p.Topology().Next(ctx, rev)
		if err != nil {
			return nil, err
		}
		if c := v.Cluster(clusterID); c != nil && c.Count(topology.Active) == n && c.Count(topology.Active, topology.Terminated) == len(c.Members()) {
			var active []topology.MemberRecord
			for _, m := range c.Members() {
				if m.State == topology.Active {
					active = append(active, m)
				}
			}
			return active, nil
		}
		rev = v.Rev
	}
}

// answeredByAnother asks until a process answers that did not answer first.
func answeredByAnother(ctx context.Context, addr string) (time.Time, error) {
	first, err := ask(ctx, addr, "app.localhost")
	if err != nil {
		return time.Time{}, err
	}
	for {
		pid, err := ask(ctx, addr, "app.localhost")
		if err != nil {
			return time.Time{}, err
		}
		if pid != first {
			return time.Now(), nil
		}
	}
}

func ask(ctx context.Context, addr, host string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", resp.Status, body))
	}
	return string(body), errors.Join(err, resp.Body.Close())
}

// idle is a control plane with one member and nothing to do, until it is told to end.
func idle(dir string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg := config(dir)
	p, err := stratos.New(cfg)
	if err != nil {
		return err
	}
	sub := tenant.Subscription{Alias: "app", Cartridge: "proc", Repository: tenant.Repository{URL: artifact.Dir(filepath.Join(filepath.Dir(dir), "app"))}}
	if err := p.Subscribe(ctx, sub); err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error {
		defer stop()
		if _, err := members(ctx, p, 1); err != nil {
			return err
		}
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	})
	err = g.Wait()
	ending, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, p.Shutdown(ending), p.Close())
}

// idleCost measures a control plane's processor time and memory while nothing happens.
func idleCost(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), idleEnv+"="+filepath.Join(dir, "idle.data"))
	cmd.Stderr = os.Stderr
	end, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	before, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	time.Sleep(idleFor)
	after, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	rss, err := memory(cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("%-55s %8.2f %%  (target < 1 %% of a core)\n", "idle control plane: processor", 100*(after-before).Seconds()/idleFor.Seconds())
	fmt.Printf("%-55s %8.1f MB (target < 60 MB)\n", "idle control plane: resident memory", float64(rss)/1e6)
	return errors.Join(end.Close(), cmd.Wait())
}

// cpu is the processor time of a process so far.
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	var ticks int
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.Atoi(f[i])
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is the resident memory of a process, in bytes.
func memory(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize(), err
}

// example measures the built example, from its start to the first page of each
// sample.
func example(ctx context.Context, dir string) error {
	program := filepath.Join(dir, "apaas")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/apaas").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var took []time.Duration
	for i := range 5 {
		d, err := startExample(ctx, program, filepath.Join(dir, fmt.Sprintf("example%d.data", i)))
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	report("start of examples/apaas to both samples served", took, "<= 10 s")
	return nil
}

func startExample(ctx context.Context, program, dir string) (time.Duration, error) {
	listen := freeAddr()
	cmd := exec.CommandContext(ctx, program, "-listen", listen, "-api", freeAddr(), "-dir", dir)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for _, host := range []string{"hello.localhost", "counter.localhost"} {
		for ctx.Err() == nil {
			if _, err := ask(ctx, listen, host); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	took := time.Since(began)
	return took, errors.Join(ctx.Err(), cmd.Process.Signal(syscall.SIGINT), cmd.Wait())
}

func report(what string, took []time.Duration, target string) {
	slices.Sort(took)
	fmt.Printf("%-55s %8.3f s  median of %d, %.3f to %.3f (target %s)\n", what,
		took[len(took)/2].Seconds(), len(took), took[0].Seconds(), took[len(took)-1].Seconds(), target)
}

// repository makes a Git repository of the app.
func repository(dir string) (string, error) {
	source := dir + ".source"
	for _, d := range []string{dir, source} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{
		filepath.Join(source, "main.go"): app, filepath.Join(source, "go.mod"): "module app\n\ngo 1.24\n",
		filepath.Join(dir, "Procfile"): "web: ./app\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	if err := command(source, "go", "build", "-o", filepath.Join(dir, "app"), "."); err != nil {
		return "", err
	}
	if err := command(dir, "git", "init", "-q"); err != nil {
		return "", err
	}
	return dir, commit(dir, "first")
}

// commit makes a commit of the app with another word.
func commit(dir, word string) error {
	if err := os.WriteFile(filepath.Join(dir, "word"), []byte(word), 0o600); err != nil {
		return err
	}
	if err := command(dir, "git", "add", "-A"); err != nil {
		return err
	}
	return command(dir, "git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", word)
}

func command(dir string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, out)
	}
	return nil
}

// freeAddr is an address that was free a moment ago.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
