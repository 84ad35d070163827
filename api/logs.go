package api

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/topology"
)

// Logs keeps what members printed: a file of JSON lines a member, below Dir,
// and the one before it. Methods may be called concurrently.
type Logs struct {
	Dir string
	// MaxBytes is when a member's file is put aside; the one put aside before
	// is deleted. Default 4 MiB.
	MaxBytes int64
	// MaxCluster is how much of a cluster's members is kept in all; what was
	// written longest ago is deleted first. Default 64 MiB.
	MaxCluster int64

	mu        sync.Mutex
	next      map[topology.MemberID]uint64 // the number of the first line that is missing
	followers map[topology.ClusterID]map[*follower]bool
}

// LogLine is a line with its member, its number, and, in answers, its level.
type LogLine struct {
	Member topology.MemberID `json:"member"`
	N      uint64            `json:"n"`
	Level  Level             `json:"level,omitempty"`
	wire.LogLine
}

// Append adds lines; those that are there already are passed over.
func (l *Logs) Append(c topology.ClusterID, m topology.MemberID, logs wire.Logs) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := l.path(c, m)
	next, err := l.expected(path, m)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	var fresh []LogLine
	enc := json.NewEncoder(&buf)
	for i, line := range logs.Lines {
		n := logs.From + uint64(i)
		if n < next {
			continue
		}
		fresh = append(fresh, LogLine{Member: m, N: n, LogLine: line})
		if err := enc.Encode(fresh[len(fresh)-1]); err != nil {
			return err
		}
		next = n + 1
	}
	if buf.Len() == 0 {
		return nil
	}
	if err := l.write(path, buf.Bytes()); err != nil {
		return fmt.Errorf("log of member %s: %w", m, err)
	}
	l.next[m] = next
	for f := range l.followers[c] {
		f.add(fresh)
	}
	return nil
}

// Tail returns the last lines of a cluster's members that q asks for, the
// oldest first. Members that are gone are among them.
func (l *Logs) Tail(c topology.ClusterID, q LogQuery) ([]LogLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail(c, q.filter())
}

func (l *Logs) tail(c topology.ClusterID, f *logFilter) ([]LogLine, error) {
	files, err := filepath.Glob(filepath.Join(l.Dir, string(c), "*.log*"))
	if err != nil {
		return nil, err
	}
	all := []LogLine{}
	for _, f := range files {
		lines, err := readLines(f)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	slices.SortFunc(all, func(a, b LogLine) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Member, b.Member), cmp.Compare(a.N, b.N))
	})
	wanted := all[:0]
	for _, line := range all {
		if f.wants(&line) {
			wanted = append(wanted, line)
		}
	}
	return wanted[max(0, len(wanted)-f.Lines):], nil
}

// Forget deletes the logs of a cluster.
func (l *Logs) Forget(c topology.ClusterID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return os.RemoveAll(filepath.Join(l.Dir, string(c)))
}

func (l *Logs) path(c topology.ClusterID, m topology.MemberID) string {
	return filepath.Join(l.Dir, string(c), string(m)+".log")
}

// expected is the number of the next line of a member; after a restart it is
// read off the file.
func (l *Logs) expected(path string, m topology.MemberID) (uint64, error) {
	if l.next == nil {
		l.next = map[topology.MemberID]uint64{}
	}
	if n, ok := l.next[m]; ok {
		return n, nil
	}
	var n uint64
	for _, f := range []string{path + ".1", path} {
		lines, err := readLines(f)
		if err != nil {
			return 0, err
		}
		if len(lines) > 0 {
			n = lines[len(lines)-1].N + 1
		}
	}
	l.next[m] = n
	return n, nil
}

func (l *Logs) write(path string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	limit := l.MaxBytes
	if limit <= 0 {
		limit = 4 << 20
	}
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
		if err := l.prune(filepath.Dir(path)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// prune deletes what was written longest ago, until the rest of a cluster's
// files is small enough.
func (l *Logs) prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	var size int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		files, size = append(files, info), size+info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	limit := cmp.Or(l.MaxCluster, 64<<20)
	for _, f := range files {
		if size <= limit {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
		size -= f.Size()
	}
	return nil
}

// readLines reads a file of lines; one that was cut off by a crash is passed
// over, and a file that is not there has none.
func readLines(path string) ([]LogLine, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []LogLine
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, MaxBody)
	for sc.Scan() {
		var line LogLine
		if json.Unmarshal(sc.Bytes(), &line) == nil {
			all = append(all, line)
		}
	}
	return all, sc.Err()
}
