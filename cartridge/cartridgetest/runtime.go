package cartridgetest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// Runtime is a plan that runs. Its methods fail the test.
type Runtime struct {
	URL                string // of the port "http", without a slash at the end
	Ports              map[string]int
	Release, Dir, Data string

	t         testing.TB
	machine   *machine
	vars      cartridge.Vars
	plan      cartridge.Plan // expanded
	processes []*exec.Cmd
	waiting   sync.WaitGroup
	ended     chan string // one line for each process that ended
	log       logBuffer
	letGo     func() // lets the thread that started the processes go
}

// start brings the plan up in runtimes/name and waits until it is healthy.
func (m *machine) start(name string) *Runtime {
	m.t.Helper()
	r := m.launch(name)
	r.healthy()
	r.hooks(cartridge.InstanceActivated)
	return r
}

// launch starts the plan's processes in runtimes/name.
func (m *machine) launch(name string) *Runtime {
	m.t.Helper()
	r := &Runtime{
		t: m.t, machine: m, Ports: map[string]int{},
		Release: m.release(), Dir: filepath.Join(m.root, "runtimes", name), Data: m.data(),
		ended: make(chan string, len(m.plan.Processes)),
	}
	for _, p := range m.plan.Ports {
		r.Ports[p.Name] = freePort(m.t)
	}
	r.URL = fmt.Sprintf("http://127.0.0.1:%d", r.Ports[cartridge.DefaultPort])
	r.vars = cartridge.Vars{Ports: r.Ports, Release: r.Release, Dir: r.Dir, Data: r.Data, Volumes: m.volumes(), Secrets: m.secrets}
	full, err := m.plan.Expand(r.vars)
	require.NoError(m.t, err)
	r.plan = full

	require.NoError(m.t, os.MkdirAll(filepath.Dir(r.Dir), 0o755))
	for _, d := range append([]string{".", "tmp"}, full.Dirs...) {
		m.mkdir(filepath.Join(r.Dir, d))
	}
	for _, f := range full.Files {
		file := filepath.Join(r.Dir, f.Path)
		m.mkdir(filepath.Dir(file))
		require.NoError(m.t, os.WriteFile(file, []byte(f.Content), os.FileMode(f.Mode)))
		m.own(file)
	}
	r.hooks(cartridge.ArtifactsUpdated)
	m.startAll(r)
	return r
}

// hooks runs the plan's hooks of a moment.
func (r *Runtime) hooks(moment cartridge.Moment) {
	r.t.Helper()
	for _, h := range r.plan.Hooks {
		if h.On != moment {
			continue
		}
		a := h.Run
		a.Env = maps.Clone(a.Env)
		if a.Env == nil {
			a.Env = map[string]string{}
		}
		a.Env["STRATOS_HOOK"], a.Env["STRATOS_REVISION"] = string(moment), strings.Repeat("0", 40)
		require.NoError(r.t, r.act(a, nil, nil, &r.log), "hook %s", moment)
	}
}

// startAll starts the processes from a thread that lives as long as they do: a
// parent-death signal comes when the thread ends that started the process.
func (m *machine) startAll(r *Runtime) {
	m.t.Helper()
	for _, p := range r.plan.Processes {
		r.processes = append(r.processes, m.command(r, p))
	}
	started, over := make(chan error), make(chan struct{})
	r.letGo = sync.OnceFunc(func() { close(over) })
	go func() {
		runtime.LockOSThread()
		var err error
		for i, cmd := range r.processes {
			if err = cmd.Start(); err != nil {
				r.processes = r.processes[:i]
				break
			}
		}
		started <- err
		<-over
	}()
	err := <-started
	for i, cmd := range r.processes {
		r.waiting.Go(func() {
			err := cmd.Wait()
			r.ended <- fmt.Sprintf("process %s ended: %v", r.plan.Processes[i].Name, err)
		})
	}
	m.t.Cleanup(r.Kill)
	require.NoError(m.t, err, "starting process %d", len(r.processes))
}

// command makes a process with a clean environment, in a group of its own.
func (m *machine) command(r *Runtime, p cartridge.Process) *exec.Cmd {
	path := p.Args[0]
	for _, g := range m.plan.Programs {
		if g.Names[0] == path {
			path = m.find(g)
		}
	}
	env := map[string]string{
		"PATH": searched, "HOME": r.Dir, "TMPDIR": filepath.Join(r.Dir, "tmp"), "LANG": "C.UTF-8",
		"PORT": fmt.Sprint(r.Ports[cartridge.DefaultPort]),
	}
	for k, v := range p.Env {
		env[k] = v
	}
	cmd := &exec.Cmd{
		Path: path, Args: append([]string{path}, p.Args[1:]...), Dir: p.Dir,
		Stdout: &r.log, Stderr: &r.log, WaitDelay: 5 * time.Second,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if m.user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(m.user), Gid: uint32(m.user)}
	}
	return cmd
}

// Processes returns the pids of all processes that run now, children too.
func (r *Runtime) Processes() []int { return r.pids() }

// Log returns what the processes printed.
func (r *Runtime) Log() string { return r.log.String() }

// Stop tells the runtime to stop, and fails unless every process is gone
// within its grace without being killed.
func (r *Runtime) Stop() {
	r.t.Helper()
	r.signal(r.stopSignal())
	deadline := time.After(r.plan.Stop.Grace)
	for range r.processes {
		select {
		case <-r.ended:
		case <-deadline:
			left := r.pids()
			r.Kill()
			require.Failf(r.t, "not stopped", "processes %v are left %v after %s\n%s", left, r.plan.Stop.Grace, r.plan.Stop.Signal, r.Log())
		}
	}
	require.Eventually(r.t, func() bool { return len(r.pids()) == 0 }, r.plan.Stop.Grace, 5*time.Millisecond, "processes are left in the groups")
	r.Kill()
}

// Kill ends every process at once, as a crash does, and waits for the end.
func (r *Runtime) Kill() {
	r.signal(syscall.SIGKILL)
	r.waiting.Wait()
	r.letGo()
	deadline := time.Now().Add(10 * time.Second)
	for len(r.pids()) > 0 {
		if time.Now().After(deadline) {
			r.t.Errorf("processes %v outlived KILL", r.pids())
			return
		}
		runtime.Gosched()
	}
}

func (r *Runtime) stopSignal() syscall.Signal {
	switch r.plan.Stop.Signal {
	case "QUIT":
		return syscall.SIGQUIT
	case "INT":
		return syscall.SIGINT
	}
	return syscall.SIGTERM
}

// signal reaches whole groups. One that is gone already is no error.
func (r *Runtime) signal(s syscall.Signal) {
	for _, cmd := range r.processes {
		if err := syscall.Kill(-cmd.Process.Pid, s); err != nil && err != syscall.ESRCH {
			r.t.Errorf("sending %v: %v", s, err)
		}
	}
}

// pids are the living processes of the runtime's groups.
func (r *Runtime) pids() []int {
	groups := map[int]bool{}
	for _, cmd := range r.processes {
		groups[cmd.Process.Pid] = true
	}
	return inGroups(groups)
}

// logBuffer collects output from several processes.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write appends.
func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns everything so far.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Beside starts a second runtime of the same release next to r, with the same
// data folder, as a roll-out does.
func (r *Runtime) Beside() *Runtime {
	r.t.Helper()
	r.machine.besides++
	return r.machine.start(fmt.Sprintf("beside-%d", r.machine.besides))
}
