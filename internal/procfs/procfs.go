// Package procfs reads what Linux says of its processes in /proc (proc_pid_stat(5)).
package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Stat is what /proc/<pid>/stat says of a process.
type Stat struct {
	PID, Parent, Group, Session int
	State                       byte // 'Z' zombie, 'X' dead: of the first thread
	Threads                     int
	Start                       uint64        // clock ticks after the boot: tells it from a later one of the same number
	CPU                         time.Duration // used, with that of the children that it waited for
	Memory                      uint64        // resident, bytes
}

// Runs reports whether any thread is left; the first one may have ended alone.
func (s Stat) Runs() bool { return s.State != 'Z' && s.State != 'X' || s.Threads > 1 }

// tick is the unit of times in /proc: USER_HZ is 100 wherever Go runs on Linux.
const tick = time.Second / 100

var errStat = errors.New("no line of /proc/<pid>/stat")

// Parse reads "pid (name) state ppid pgrp session ... start ...". The name may
// hold anything, also blanks and brackets.
func Parse(line string) (Stat, error) {
	i := strings.LastIndex(line, ") ")
	if i < 0 {
		return Stat{}, errStat
	}
	number, _, ok := strings.Cut(line[:i], " (")
	if !ok {
		return Stat{}, errStat
	}
	fields := strings.Fields(line[i+2:]) // from the third on: the state
	if len(fields) < 22 || len(fields[0]) != 1 {
		return Stat{}, errStat
	}
	s := Stat{State: fields[0][0]}
	var bad bool
	integer := func(text string) int {
		n, err := strconv.Atoi(text)
		bad = bad || err != nil
		return n
	}
	natural := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 64)
		bad = bad || err != nil
		return n
	}
	s.PID, s.Parent, s.Group, s.Session = integer(number), integer(fields[1]), integer(fields[2]), integer(fields[3])
	for _, times := range fields[11:15] { // utime, stime, cutime, cstime
		s.CPU += time.Duration(integer(times)) * tick
	}
	s.Threads, s.Start = integer(fields[17]), natural(fields[19])
	s.Memory = natural(fields[21]) * uint64(os.Getpagesize())
	if bad || s.PID <= 0 {
		return Stat{}, errStat
	}
	return s, nil
}

// Read asks for one process. ok is false if there is none.
func Read(pid int) (s Stat, ok bool, err error) {
	b, err := os.ReadFile(File(pid, "stat"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Stat{}, false, nil
	}
	if err != nil {
		return Stat{}, false, err
	}
	s, err = Parse(string(b))
	if err != nil {
		return Stat{}, false, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, true, nil
}

// All lists all processes. Those that end meanwhile may be missing.
func All() ([]Stat, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	var all []Stat
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		s, ok, err := Read(pid)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("/proc lists no process: is it mounted?")
	}
	return all, nil
}

// File is the path of what /proc has of a process.
func File(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// AddChildren adds to mine the descendants in all of those that are in it.
func AddChildren(all []Stat, mine map[int]bool) {
	for grown := true; grown; {
		grown = false
		for _, s := range all {
			if !mine[s.PID] && mine[s.Parent] {
				mine[s.PID], grown = true, true
			}
		}
	}
}
