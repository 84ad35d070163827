// Package confine runs programs that nobody trusts, as the builds of tenants
// are: within limits, behind what else runs on the machine, and, where
// bubblewrap works, out of sight of everything but their own folders.
package confine

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound a program together with all that it starts. Zero: no bound.
type Limits struct {
	CPU       time.Duration // time of processors
	Memory    int64         // bytes that are resident; what processes share counts for each
	Disk      int64         // bytes in its folders, and in one file
	Processes int
}

// Box is where a program runs.
type Box struct {
	Work  string // its folder, which it may change
	Cache string // what it keeps for the next time; made if needed
	Tmp   string // an empty folder for temporary files
	// Hidden are folders of which it sees nothing. Without bubblewrap it sees
	// whatever its user may see.
	Hidden []string
	// UID, if it is not 0, is the user and the group that the program runs as:
	// only root can do that, and only with bubblewrap. Work and Tmp are given to
	// this user, and Cache too, for good.
	UID    int
	Limits Limits
}

// ExceededError says which limit a program has reached: it was ended there.
type ExceededError struct{ What string }

func (e *ExceededError) Error() string { return "it was stopped: " + e.What }

// Folders are where the program finds what is its own.
type Folders struct{ Work, Cache, Tmp string }

// Where the folders are behind bubblewrap: there, their real place would need a
// way in through folders that others own.
var inside = Folders{Work: "/mnt/work", Cache: "/mnt/cache", Tmp: "/tmp"}

// Run runs a program in the box until it ends, or ctx does, or it reaches a
// limit, which is an *ExceededError; nothing of it is left then. What it prints
// goes to out. The program is looked for in the PATH of env, which is all of
// its environment. A program that fails is an *exec.ExitError.
func (b *Box) Run(ctx context.Context, args []string, env func(Folders) []string, out io.Writer) error {
	if err := os.MkdirAll(b.Cache, 0o700); err != nil {
		return err
	}
	cmd, err := b.command(args, env)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	started, ended := make(chan error), make(chan struct{})
	defer close(ended)
	go startBehind(cmd, started, ended)
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", args[0], err)
	}
	w := newWatch(b, cmd.Process.Pid)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var why error
	for {
		select {
		case err := <-exited:
			if kerr := w.end(); kerr != nil {
				return kerr
			}
			if why != nil {
				return why
			}
			return err
		case <-ctx.Done():
			if why == nil {
				why = ctx.Err()
			}
			w.kill()
		case <-tick.C:
			if err := w.look(); err != nil && why == nil {
				why = err
			}
			if why != nil {
				w.kill() // again and again: it may be about to start something
			}
		}
	}
}

// startBehind starts cmd so that it gets what others leave of the processors
// and the disk. That is a property of the thread, which is thrown away at the
// end; it is kept until then, because the program ends with it.
func startBehind(cmd *exec.Cmd, started chan<- error, ended <-chan struct{}) {
	runtime.LockOSThread()
	// Neither is an error: a machine that cannot do that runs it beside the others.
	idle := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if unix.SchedSetAttr(0, idle, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
	}
	const whoProcess, classIdle = 1, 3 << 13 // ioprio_set(2)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
	started <- cmd.Start()
	<-ended
}

// command is what is started: the program behind its limits, and behind
// bubblewrap if that works here.
func (b *Box) command(args []string, env func(Folders) []string) (*exec.Cmd, error) {
	limited := append([]string{"/bin/sh", "-c", b.ulimits() + `exec "$@"`, "sh"}, args...)
	a := Probe()
	if a.Bubblewrap == "" {
		cmd := exec.Command(limited[0], limited[1:]...)
		cmd.Dir, cmd.Env = b.Work, env(Folders{b.Work, b.Cache, b.Tmp})
		return cmd, nil
	}
	if a.Root && b.UID > 0 {
		for _, dir := range []string{b.Work, b.Tmp} {
			if err := give(dir, b.UID); err != nil {
				return nil, err
			}
		}
		if err := giveOnce(b.Cache, b.UID); err != nil {
			return nil, err
		}
		id := fmt.Sprint(b.UID)
		limited = append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"}, limited...)
	}
	wrap := []string{
		"--die-with-parent", "--unshare-pid", "--unshare-ipc", "--new-session",
		"--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
	}
	for _, dir := range b.Hidden {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); err == nil {
			wrap = append(wrap, "--tmpfs", abs)
		}
	}
	wrap = append(wrap, "--perms", "0755", "--tmpfs", "/mnt")
	for _, f := range [][2]string{{b.Tmp, inside.Tmp}, {b.Work, inside.Work}, {b.Cache, inside.Cache}} {
		abs, err := filepath.Abs(f[0])
		if err != nil {
			return nil, err
		}
		wrap = append(wrap, "--bind", abs, f[1])
	}
	wrap = append(wrap, "--chdir", inside.Work, "--")
	cmd := exec.Command(a.Bubblewrap, append(wrap, limited...)...)
	cmd.Dir, cmd.Env = "/", env(inside)
	return cmd, nil
}

// ulimits are what every shell can set: no dump of memory, and no file larger
// than the disk that there is for all.
func (b *Box) ulimits() string {
	s := "ulimit -c 0; "
	if b.Limits.Disk > 0 {
		const block = 512
		s += fmt.Sprintf("ulimit -f %d; ", (b.Limits.Disk+block-1)/block)
	}
	return s
}

// give makes a folder, with all in it, a user's.
func give(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
}

// giveOnce is give for a folder that stays the user's.
func giveOnce(dir string, uid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid {
		return nil
	}
	return give(dir, uid)
}

// Abilities are what this machine can do to keep programs apart.
type Abilities struct {
	Root       bool
	Bubblewrap string // the program; empty: there is none that works, see Why
	Why        string
}

// Probe says what this machine can do. It tries once.
var Probe = sync.OnceValue(look)

func look() Abilities {
	a := Abilities{Root: os.Geteuid() == 0}
	program, err := exec.LookPath("bwrap")
	if err != nil {
		a.Why = "bubblewrap is not installed (apt-get install bubblewrap)"
		return a
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	args := []string{"--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/mnt", "--", "/bin/sh", "-c", ":"}
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		a.Why = "bubblewrap does not work here: " + strings.TrimSpace(string(out)) + ": " + err.Error()
		return a
	}
	if a.Root {
		if _, err := exec.LookPath("setpriv"); err != nil {
			a.Why = "there is no setpriv (apt-get install util-linux)"
			return a
		}
	}
	a.Bubblewrap = program
	return a
}
