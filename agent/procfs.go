package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// procStat is what /proc/<pid>/stat says of a process.
type procStat struct {
	pid, group int
	state      byte
	pages      uint64 // resident
}

// dead reports whether the process has ended and only waits to be reaped.
func (p procStat) dead() bool { return p.state == 'Z' || p.state == 'X' }

// parseStat reads a line of /proc/<pid>/stat. The command's name stands in
// parentheses and may itself hold anything.
func parseStat(line []byte) (procStat, bool) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:open])))
	if err != nil {
		return procStat{}, false
	}
	// After the name: state, ppid, pgrp, ... rss is field 24 of the line.
	f := bytes.Fields(line[end+1:])
	if len(f) < 22 || len(f[0]) != 1 {
		return procStat{}, false
	}
	group, err := strconv.Atoi(string(f[2]))
	if err != nil {
		return procStat{}, false
	}
	pages, err := strconv.ParseUint(string(f[21]), 10, 64)
	if err != nil {
		return procStat{}, false
	}
	return procStat{pid: pid, group: group, state: f[0][0], pages: pages}, true
}

// processes lists all processes. Those that end meanwhile are passed over.
func processes() ([]procStat, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var all []procStat
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(line); ok {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("/proc lists no process: is it mounted?")
	}
	return all, nil
}

// loadAverage is the machine's load over the last minute; 0 if it is unknown.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
