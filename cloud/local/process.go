package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one process of this machine, told from a later one with the same
// number by its start, and from one of another boot or container by Boot.
type process struct {
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // clock ticks after the boot
	Boot   string `json:"boot"`
	Binary string `json:"binary,omitempty"` // of an agent: its name in Dir/bin
}

// stat is what /proc/<pid>/stat says of a process.
type stat struct {
	PID, Parent, Session int
	State                byte // 'Z' zombie, 'X' dead: of the first thread
	Threads              int
	Start                uint64
}

var errStat = errors.New("no line of /proc/<pid>/stat")

// parseStat reads "pid (name) state ppid pgrp session ... start ...". The name
// may hold anything, also blanks and brackets.
func parseStat(line string) (stat, error) {
	head, rest, ok := cutLast(line, ") ")
	if !ok {
		return stat{}, errStat
	}
	number, _, ok := strings.Cut(head, " (")
	if !ok {
		return stat{}, errStat
	}
	fields := strings.Fields(rest) // from the third on: the state
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, errStat
	}
	s := stat{State: fields[0][0]}
	var errs [5]error
	s.PID, errs[0] = strconv.Atoi(number)
	s.Parent, errs[1] = strconv.Atoi(fields[1])
	s.Session, errs[2] = strconv.Atoi(fields[3])
	s.Threads, errs[4] = strconv.Atoi(fields[17])
	s.Start, errs[3] = strconv.ParseUint(fields[19], 10, 64)
	if errors.Join(errs[:]...) != nil || s.PID <= 0 {
		return stat{}, errStat
	}
	return s, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// readStat asks for one process. ok is false if there is none.
func readStat(pid int) (s stat, ok bool, err error) {
	b, err := os.ReadFile(procFile(pid, "stat"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return stat{}, false, nil
	}
	if err != nil {
		return stat{}, false, err
	}
	s, err = parseStat(string(b))
	if err != nil {
		return stat{}, false, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, true, nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// self is this process.
func self() (process, error) {
	boot, err := bootID()
	if err != nil {
		return process{}, err
	}
	s, ok, err := readStat(os.Getpid())
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
	s, ok, err := readStat(p.PID)
	if err != nil {
		return false, err
	}
	return ok && s.Start == p.Start && s.runs(), nil
}

// runs reports whether any thread is left; the first one may have ended alone.
func (s stat) runs() bool { return s.State != 'Z' && s.State != 'X' || s.Threads > 1 }

// signal sends sig to exactly this process: the handle is taken first, then
// what it holds is compared.
func (s stat) signal(sig syscall.Signal) error {
	h, err := os.FindProcess(s.PID)
	if err != nil {
		return err
	}
	defer h.Release() //nolint:errcheck // it has nothing to say
	now, ok, err := readStat(s.PID)
	if err != nil {
		return err
	}
	if !ok || now.Start != s.Start || !now.runs() {
		return nil
	}
	if err := h.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process %d: %w", s.PID, err)
	}
	return nil
}

// reap takes the status of an ended process that is a child of this one, so
// that it is no zombie.
func (s stat) reap() {
	if !s.runs() && s.Parent == os.Getpid() {
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(s.PID, &status, syscall.WNOHANG, nil) // of no use, and asked again
	}
}

// processes lists all that /proc shows.
func processes() ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []stat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, ok, err := readStat(pid)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, s)
		}
	}
	return all, nil
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
