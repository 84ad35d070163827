package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/procfs"
)

// Where version 1 of control groups has the processors. Version 2 is not used:
// nothing here could be tried on it.
const cpuGroups = "/sys/fs/cgroup/cpu"

// groupName is the control group of all that gives way.
const groupName = "stratos-builds"

// startBehind starts cmd so that it gets little of what others want of the processors
// and the disk. That is a property of the thread that starts it, which is
// thrown away at the end; it is kept until then, because the program ends with it.
func startBehind(cmd *exec.Cmd, a Abilities, started chan<- error, ended <-chan struct{}) {
	runtime.LockOSThread()
	// None of it is an error: what a machine cannot do runs beside the others.
	idle := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if unix.SchedSetAttr(0, idle, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
	}
	const whoProcess, classIdle = 1, 3 << 13 // ioprio_set(2)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
	if a.Group != "" {
		_ = enterGroup(a.Group)
	}
	started <- cmd.Start()
	<-ended
	if a.Group != "" {
		_ = joinGroup(filepath.Dir(a.Group)) // so that the group can be removed
		_ = unix.Rmdir(a.Group)              // unless somebody else is in it
	}
}

// enterGroup moves this thread into the group; what it starts is there, too. The
// group goes when nobody is in it any more, also between two steps of this.
func enterGroup(dir string) error {
	for range 10 {
		err := makeGroup(dir)
		if err == nil {
			err = joinGroup(dir)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return errors.New("the control group vanishes again and again")
}

// share is what the group gets of the processors beside another one that wants
// all of them, in 1024ths: little, but builds end on a busy machine, too.
const share = 51

// makeGroup makes a group of little weight. Without it, who begins a session of
// his own would have as much as everybody else (sched(7), the autogroup feature).
func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cpu.shares"), []byte(strconv.Itoa(share)), 0)
}

// joinGroup moves this thread into a group.
func joinGroup(dir string) error {
	return os.WriteFile(filepath.Join(dir, "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0)
}

// findGroup says where the group can be made, or why it cannot.
func findGroup() (dir, why string) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err.Error()
	}
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || !strings.Contains(","+part[1]+",", ",cpu,") {
			continue
		}
		dir = filepath.Join(cpuGroups, part[2], groupName)
		probe := dir + "-" + strconv.Itoa(os.Getpid())
		if err := errors.Join(makeGroup(probe), unix.Rmdir(probe)); err != nil {
			return "", fmt.Sprintf("no control group can be made: %v", err)
		}
		return dir, ""
	}
	return "", "there are no control groups of version 1 for the processors"
}

// yield takes weight from the sessions of processes, where there is no control
// group: each session shares the processors as one. The kernel lets ordinary
// users do that ten times a second, all together: what fails is tried again.
func yield(found []procfs.Stat, done map[int]bool) {
	for _, s := range found {
		if !done[s.Session] && s.Session > 0 {
			done[s.Session] = os.WriteFile(procfs.File(s.PID, "autogroup"), []byte("19"), 0) == nil
		}
	}
}
