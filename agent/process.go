package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainOutput is how long the output of an ended process may still come from
// somebody who inherited it.
const drainOutput = time.Second

// process is one running program of a runtime: the leader of a process group
// of its own, in the agent's session.
//
// It is reaped only by end: until then its number, which names the group too,
// is not given to anybody else, and signals hit nobody else.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *os.File
	exited chan struct{} // closed when the leader has ended
	group  sync.WaitGroup
}

// command is what to start.
type command struct {
	name string
	path string // absolute
	args []string
	dir  string
	env  []string
}

// startProcess starts c. Each line that it prints goes to add.
func startProcess(s *starter, c command, add func(line string)) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: c.path, Args: c.args, Dir: c.dir, Env: c.env,
		Stdout: w, Stderr: w,
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL, // a runtime does not outlive its agent
		},
	}
	err = s.start(cmd)
	err = errors.Join(err, w.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %q (%s): %w", c.name, c.path, err), r.Close())
	}
	p := &process{name: c.name, cmd: cmd, output: r, exited: make(chan struct{})}
	p.group.Go(func() { readLines(r, add) })
	p.group.Go(p.watch)
	return p, nil
}

// watch closes exited when the leader ends, and leaves it to be reaped.
func (p *process) watch() {
	defer close(p.exited)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // ended; or not our child any more, which is no better
		}
	}
}

// pid is the leader's number, and the group's.
func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the whole group. It must not be called after end.
func (p *process) signal(sig unix.Signal) error {
	err := unix.Kill(-p.pid(), sig)
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("signal %v to %q: %w", sig, p.name, err)
}

// end kills what is left of the group, takes in the rest of the output and
// reaps the leader. It returns how the leader ended: "exit status 1".
func (p *process) end() (string, error) {
	errs := []error{p.signal(unix.SIGKILL)}
	<-p.exited
	// Members of the group that are not ours to reap may hold the pipe for a
	// moment; who escaped from the group may hold it for longer.
	errs = append(errs, p.output.SetReadDeadline(time.Now().Add(drainOutput)))
	p.group.Wait()
	errs = append(errs, p.output.Close())

	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		errs = append(errs, fmt.Errorf("waiting for %q: %w", p.name, err))
	}
	how := "it ended"
	if p.cmd.ProcessState != nil {
		how = p.cmd.ProcessState.String()
	}
	return how, errors.Join(errs...)
}
