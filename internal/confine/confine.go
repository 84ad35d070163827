// Package confine runs programs that nobody trusts, as the builds of tenants
// are: within limits, behind what else runs on the machine, and, where
// bubblewrap works, out of sight of everything but their own folders.
package confine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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
	Cache string // what it keeps for the next time; made if needed, and emptied if it takes half of Limits.Disk
	Tmp   string // an empty folder for temporary files
	// Hidden are folders and files of which it sees nothing. Without bubblewrap
	// it sees whatever its user may see.
	Hidden []string
	// UID, if it is not 0, is the user and the group that the program runs as:
	// only root can do that, and only with bubblewrap. Work and Tmp are given to
	// this user, and Cache too, for good.
	UID    int
	Limits Limits
	// Abilities are what Probe says.
	Abilities Abilities
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
	if err := b.cache(); err != nil {
		return err
	}
	cmd, err := b.command(args, env)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 5 * time.Second
	started, ended, gone := make(chan error), make(chan struct{}), make(chan struct{})
	defer func() {
		close(ended)
		<-gone
	}()
	go func() {
		defer close(gone)
		startBehind(cmd, b.Abilities, started, ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", args[0], err)
	}
	w := newWatch(b, cmd.Process.Pid)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var why error
	over := ctx.Done()
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
		case <-over:
			if over = nil; why == nil {
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

// cache makes the folder, or empties it when it leaves too little room.
func (b *Box) cache() error {
	if used, err := diskUsage(b.Cache); err != nil {
		return err
	} else if half := b.Limits.Disk / 2; half > 0 && used > half {
		if err := os.RemoveAll(b.Cache); err != nil {
			return err
		}
	}
	return os.MkdirAll(b.Cache, 0o700)
}

// command is what is started: the program behind its limits, and behind
// bubblewrap if that works here.
func (b *Box) command(args []string, env func(Folders) []string) (*exec.Cmd, error) {
	limited := append([]string{"/bin/sh", "-c", b.ulimits() + `exec "$@"`, "sh"}, args...)
	a := b.Abilities
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
		"--die-with-parent", "--unshare-pid", "--unshare-ipc",
		"--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
	}
	for _, dir := range b.Hidden {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(abs)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.IsDir():
			wrap = append(wrap, "--tmpfs", abs)
		default:
			wrap = append(wrap, "--ro-bind", os.DevNull, abs)
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

// Sees reports whether the box has a program, by the PATH of this process.
func (b *Box) Sees(program string) error {
	path, err := exec.LookPath(program)
	if err != nil || b.Abilities.Bubblewrap == "" {
		return err
	}
	if strings.Contains(program, "/") {
		return nil // of the work folder, or wherever it is
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path = filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && !b.hides(path) {
			return nil
		}
	}
	return fmt.Errorf("%s is only in %s, which builds do not see", program, filepath.Dir(path))
}

// hides reports whether a path is in a hidden folder.
func (b *Box) hides(path string) bool {
	for _, dir := range b.Hidden {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return true
		}
		if rel, err := filepath.Rel(abs, path); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
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
	Group      string // the control group of what gives way; empty: none can be made, see WhyGroup
	WhyGroup   string
}

// Probe tries what this machine can do; it takes some hundredths of a second.
func Probe() Abilities {
	a := Abilities{Root: os.Geteuid() == 0}
	a.Group, a.WhyGroup = findGroup()
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
