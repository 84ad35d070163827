package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/gostratos/stratos/internal/procfs"
)

// process is one process of this machine, told from a later one with the same
// number by its start, and from one of another boot or container by Boot.
type process struct {
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // clock ticks after the boot
	Boot   string `json:"boot"`
	Binary string `json:"binary,omitempty"` // of an agent: its name in Dir/bin
}

// self is this process.
func self() (process, error) {
	boot, err := bootID()
	if err != nil {
		return process{}, err
	}
	s, ok, err := procfs.Read(os.Getpid())
	if err != nil {
		return process{}, err
	}
	if !ok {
		return process{}, errors.New("/proc does not show this process")
	}
	return process{PID: s.PID, Start: s.Start, Boot: boot}, nil
}

// bootID names what gives a process number its meaning: the machine's boot and
// the container.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)) + " " + space, nil
}

// alive reports whether the process runs. A zombie does not.
func (p process) alive() (bool, error) {
	boot, err := bootID()
	if err != nil {
		return false, err
	}
	if p.PID <= 0 || p.Boot != boot {
		return false, nil
	}
	s, ok, err := procfs.Read(p.PID)
	if err != nil {
		return false, err
	}
	return ok && s.Start == p.Start && s.Runs(), nil
}

// send sends sig to exactly this process: the handle is taken first, then what
// it holds is compared.
func send(s procfs.Stat, sig syscall.Signal) error {
	h, err := os.FindProcess(s.PID)
	if err != nil {
		return err
	}
	defer h.Release() //nolint:errcheck // it has nothing to say
	now, ok, err := procfs.Read(s.PID)
	if err != nil {
		return err
	}
	if !ok || now.Start != s.Start || !now.Runs() {
		return nil
	}
	if err := h.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process %d: %w", s.PID, err)
	}
	return nil
}

// reap takes the status of an ended process that is a child of this one, so
// that it is no zombie.
func reap(s procfs.Stat) {
	if !s.Runs() && s.Parent == os.Getpid() {
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(s.PID, &status, syscall.WNOHANG, nil) // of no use, and asked again
	}
}

// marked reports whether an environment, as /proc shows it, is that of an
// instance: the agent's own marker, or a home or temporary folder within.
func marked(environ []byte, f folder) bool {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		key, value, _ := bytes.Cut(v, []byte("="))
		switch string(key) {
		case instanceEnv, "HOME", "TMPDIR":
		default:
			continue
		}
		if rest, ok := bytes.CutPrefix(value, []byte(f)); ok && (len(rest) == 0 || rest[0] == '/') {
			return true
		}
	}
	return false
}
