package agent

import (
	"os/exec"
	"runtime"
)

// starter starts processes, all from one thread that lives as long as it runs.
// The kernel sends the parent-death signal when the *thread* that made a child
// ends, and the Go runtime ends threads as it likes; only a locked one is safe.
type starter struct {
	requests chan startRequest
}

type startRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

func newStarter() *starter { return &starter{requests: make(chan startRequest)} }

// run serves until close. The processes that it started must be gone by then.
func (s *starter) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for r := range s.requests {
		r.done <- r.cmd.Start()
	}
}

// start starts cmd. It must not be called after close.
func (s *starter) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.requests <- startRequest{cmd: cmd, done: done}
	return <-done
}

// close ends run.
func (s *starter) close() { close(s.requests) }
