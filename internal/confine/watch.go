package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/procfs"
)

const (
	// every is how often a program is looked at.
	every = 100 * time.Millisecond
	// walkEvery is how often its folders are added up, at most; a walk takes a
	// tenth of the time at most.
	walkEvery = time.Second
	// killPatience is how long killed processes may take to end.
	killPatience = 10 * time.Second
	// reserve is what a program must leave free on the disk for others, bytes.
	reserve = 256 << 20
)

// watch keeps an eye on a program and all that it started.
type watch struct {
	box      *Box
	leader   int
	start    uint64         // of the leader
	known    map[int]uint64 // numbers, and when they started
	sessions map[int]bool   // those that give way
	cpu      time.Duration  // used so far, at the most that was seen
	walk     time.Time      // the next one
	free     uint64         // on the disk, at the last walk
}

func newWatch(b *Box, leader int) *watch {
	w := &watch{box: b, leader: leader, known: map[int]uint64{}, sessions: map[int]bool{}}
	if s, ok, err := procfs.Read(leader); err == nil && ok {
		w.start = s.Start
	}
	return w
}

// processes are those of the program: its descendants, and who was seen as one.
func (w *watch) processes() ([]procfs.Stat, error) {
	all, err := procfs.All()
	if err != nil {
		return nil, err
	}
	mine := map[int]bool{}
	for _, s := range all {
		start, known := w.known[s.PID]
		mine[s.PID] = w.leader > 0 && (s.PID == w.leader || s.Group == w.leader) || known && start == s.Start || w.marked(s)
	}
	procfs.AddChildren(all, mine)
	clear(w.known)
	var found []procfs.Stat
	for _, s := range all {
		if mine[s.PID] && s.Runs() {
			w.known[s.PID] = s.Start
			found = append(found, s)
		}
	}
	return found, nil
}

// marked reports whether a process carries the box's temporary folder in its
// environment: who leaves his parents behind is found by that where bubblewrap
// does not keep him, unless he wipes it.
func (w *watch) marked(s procfs.Stat) bool {
	if w.box.Abilities.Bubblewrap != "" || s.Start < w.start || s.PID == os.Getpid() {
		return false
	}
	environ, err := os.ReadFile(procfs.File(s.PID, "environ"))
	return err == nil && bytes.Contains(append(environ, 0), []byte("="+w.box.Tmp+"\x00"))
}

// look returns which limit is reached, if one is.
func (w *watch) look() error {
	found, err := w.processes()
	if err != nil {
		return err
	}
	if w.box.Abilities.Group == "" {
		yield(found, w.sessions)
	}
	l := w.box.Limits
	var cpu time.Duration
	var memory uint64
	for _, s := range found {
		cpu += s.CPU
		memory += s.Memory
	}
	w.cpu = max(w.cpu, cpu)
	switch {
	case l.Processes > 0 && len(found) > l.Processes:
		return &ExceededError{fmt.Sprintf("it ran more than %d processes", l.Processes)}
	case l.CPU > 0 && w.cpu > l.CPU:
		return &ExceededError{fmt.Sprintf("it used more than %s of processor time", l.CPU)}
	case l.Memory > 0 && memory > uint64(l.Memory):
		return &ExceededError{fmt.Sprintf("it used more than %s of memory", size(l.Memory))}
	}
	return w.disk()
}

// disk looks whether the folders hold too much, or the disk too little.
func (w *watch) disk() error {
	if w.box.Limits.Disk <= 0 {
		return nil
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(w.box.Work, &fsys); err != nil {
		return err
	}
	free := fsys.Bavail * uint64(fsys.Bsize)
	if free < reserve {
		return &ExceededError{"the disk is nearly full: " + size(int64(free)) + " are left on it"}
	}
	// A disk that fills quickly is looked at more often.
	if quick := free+uint64(w.box.Limits.Disk)/8 < w.free; time.Now().Before(w.walk) && !quick {
		return nil
	}
	began := time.Now()
	var used int64
	for _, dir := range []string{w.box.Work, w.box.Cache, w.box.Tmp} {
		n, err := diskUsage(dir)
		if err != nil {
			return err
		}
		used += n
	}
	w.free, w.walk = free, time.Now().Add(max(walkEvery, 10*time.Since(began)))
	if used > w.box.Limits.Disk {
		return &ExceededError{"it wrote more than " + size(w.box.Limits.Disk)}
	}
	return nil
}

// diskUsage is what a folder takes on the disk, bytes, as far as it can be seen.
func diskUsage(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // gone meanwhile; or made unreadable, by whom it is
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			const block = 512
			n += st.Blocks * block
		}
		return nil
	})
	return n, err
}

// kill ends what is there of the program.
func (w *watch) kill() {
	if w.leader > 0 {
		_ = unix.Kill(-w.leader, unix.SIGKILL) // none left is no error
	}
	found, err := w.processes()
	if err != nil {
		return // the next look tells
	}
	for _, s := range found {
		if now, ok, err := procfs.Read(s.PID); err == nil && ok && now.Start == s.Start {
			_ = unix.Kill(s.PID, unix.SIGKILL)
		}
	}
}

// end kills what the program has left running, and waits until it is gone.
func (w *watch) end() error {
	w.kill()
	w.leader = 0 // it was reaped: its number may be another's from now on
	for deadline := time.Now().Add(killPatience); ; time.Sleep(time.Millisecond) {
		found, err := w.processes()
		if err != nil || len(found) == 0 {
			return err
		}
		w.kill()
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes do not end, though killed", len(found))
		}
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
