package cartridgetest

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// listener is a TCP socket in state LISTEN.
type listener struct {
	addr netip.Addr
	port int
}

// inGroups returns the processes of these groups that are not zombies.
func inGroups(groups map[int]bool) []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // ended since
		}
		// The name, in parentheses, may hold anything, also a parenthesis.
		f := strings.Fields(string(b)[strings.LastIndexByte(string(b), ')')+1:]) // state ppid pgrp ...
		if len(f) < 3 || f[0] == "Z" || f[0] == "X" {
			continue
		}
		if group, err := strconv.Atoi(f[2]); err == nil && groups[group] {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))) // digits by the pattern
			pids = append(pids, pid)
		}
	}
	return pids
}

// listeners returns what the processes listen on.
func listeners(t testing.TB, pids []int) []listener {
	t.Helper()
	sockets := map[string]bool{}
	for _, pid := range pids {
		links, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*") // the pattern is right
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
				sockets[strings.Trim(to, "socket:[]")] = true
			}
		}
	}
	var found []listener
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if os.IsNotExist(err) {
			continue // no IPv6 here
		}
		require.NoError(t, err)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && sockets[f[9]] {
				found = append(found, parseListener(t, f[1]))
			}
		}
	}
	return found
}

// parseListener reads an address as /proc/net/tcp has it: 32-bit words in the
// machine's order, which is little-endian on all that we run on.
func parseListener(t testing.TB, s string) listener {
	t.Helper()
	addr, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	require.NoError(t, err)
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(b)
	require.True(t, ok, "address %q", s)
	n, err := strconv.ParseUint(port, 16, 16)
	require.NoError(t, err)
	return listener{ip.Unmap(), int(n)}
}

// uidOf returns the owner of a process, false if it has ended.
func uidOf(pid int) (int, bool) {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
