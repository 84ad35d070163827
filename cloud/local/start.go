package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gostratos/stratos/internal/procfs"
)

// startTimeout is how long an agent may take until it holds its folder's lock:
// the time to load a program.
const startTimeout = 10 * time.Second

// start runs an agent in the folder and waits for its word. An agent that
// finds another one is as good as started.
func (d *Driver) start(ctx context.Context, f folder, wrap []string) error {
	d.mu.Lock()
	binary := d.binary
	d.mu.Unlock()

	err := d.startOnce(ctx, binary, f, wrap)
	if _, gone := os.Lstat(binary); err == nil || !errors.Is(gone, fs.ErrNotExist) {
		return err
	}
	// Somebody cleaned up: another process, with another program.
	if binary, err = install(ctx, filepath.Dir(binary)); err != nil {
		return fmt.Errorf("copying this program for its agents: %w", err)
	}
	return d.startOnce(ctx, binary, f, wrap)
}

func (d *Driver) startOnce(ctx context.Context, binary string, f folder, wrap []string) error {
	word, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer word.Close()
	child, err := d.exec(append(wrap[:len(wrap):len(wrap)], binary, agentArg, f.name()), f, tell)
	if err = errors.Join(err, tell.Close()); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: Dir must be on a file system that is mounted with exec", err)
		}
		return fmt.Errorf("starting the agent: %w", err)
	}
	said, err := hear(ctx, word, startTimeout)
	switch {
	case err == nil:
		return said.err()
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		err = fmt.Errorf("the agent did not come up within %v", startTimeout)
		return errors.Join(err, send(child, syscall.SIGKILL))
	case ctx.Err() != nil:
		return ctx.Err() // the agent may come up yet
	}
	return fmt.Errorf("the agent ended before it was up; see %s", f.path("agent.log"))
}

// exec starts the agent's process in a session of its own, so that nothing that
// ends this process ends the agent.
func (d *Driver) exec(args []string, f folder, tell *os.File) (procfs.Stat, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return procfs.Stat{}, err
	}
	log, err := os.OpenFile(f.path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return procfs.Stat{}, err
	}
	defer log.Close()
	cmd := exec.Cmd{
		Path:        path,
		Args:        args,
		Env:         d.environ(f),
		Dir:         string(f),
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{tell}, // 3
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return procfs.Stat{}, err
	}
	// It is not waited for here but in reap: waiting needs a goroutine that
	// lives as long as the agent. Until reaped its number is not used again.
	child, _, err := procfs.Read(cmd.Process.Pid)
	if err != nil {
		return procfs.Stat{}, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	d.mu.Lock()
	d.children = append(d.children, process{PID: child.PID, Start: child.Start})
	d.mu.Unlock()
	return child, cmd.Process.Release()
}

// environ is an agent's environment.
func (d *Driver) environ(f folder) []string {
	get := func(key, otherwise string) string {
		if v := os.Getenv(key); v != "" {
			otherwise = v
		}
		return key + "=" + otherwise
	}
	env := []string{
		get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		get("LANG", "C.UTF-8"),
		get("TMPDIR", os.TempDir()),
		"HOME=" + string(f),
	}
	// The last one counts: Env may change all but the marker.
	return append(append(env, d.Env...), instanceEnv+"="+string(f))
}

// reap ends the zombies among the agents that this process started. Every
// method of the driver calls it, so that there are few and for a short time.
func (d *Driver) reap() {
	d.mu.Lock()
	children := slices.Clone(d.children)
	d.mu.Unlock()

	var ended []process
	for _, p := range children {
		s, ok, err := procfs.Read(p.PID)
		if err != nil || ok && s.Start == p.Start && s.Runs() {
			continue
		}
		if ok && s.Start == p.Start {
			reap(s)
		}
		ended = append(ended, p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.children = slices.DeleteFunc(d.children, func(p process) bool { return slices.Contains(ended, p) })
}
