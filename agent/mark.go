package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/procfs"
)

// markEnv is the variable that marks the processes of a runtime: its value is
// the runtime's folder.
const markEnv = "STRATOS_RUNTIME"

// markedBy matches the mark of the runtimes whose folder is meant.
func markedBy(meant func(dir string) bool) func(entry string) bool {
	return func(entry string) bool {
		dir, ok := strings.CutPrefix(entry, markEnv+"=")
		return ok && meant(dir)
	}
}

// sweep kills what has an entry in its environment that match accepts, until
// nothing of it is left: a process may make another one while it is looked for.
func sweep(match func(entry string) bool) error {
	for range 100 {
		n, err := killMarked(match)
		if err != nil || n == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("processes of a runtime do not end although they were killed: they hang in the kernel")
}

// killMarked ends, with KILL, every process whose environment has an entry that
// match accepts, and returns how many it found. Environments of other users are
// out of sight, and so are the processes that wiped theirs.
func killMarked(match func(entry string) bool) (int, error) {
	all, err := procfs.All()
	if err != nil {
		return 0, err
	}
	found := 0
	var errs []error
	for _, p := range all {
		if !p.Runs() || p.PID == os.Getpid() {
			continue
		}
		killed, err := killIfMarked(p.PID, match)
		if killed {
			found++
		}
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// killIfMarked looks at the environment while it holds on to the process, so
// that a number that was given to another process meanwhile is not hit.
func killIfMarked(pid int, match func(entry string) bool) (bool, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, nil // it has ended
	}
	defer unix.Close(fd)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false, nil // it has ended, or is another user's
	}
	for entry := range strings.SplitSeq(string(env), "\x00") {
		if !match(entry) {
			continue
		}
		err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return false, fmt.Errorf("ending process %d: %w", pid, err)
		}
		return true, nil
	}
	return false, nil
}
