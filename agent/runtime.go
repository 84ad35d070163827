package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/internal/procfs"
)

// crashGrace is how long the other processes of a runtime may take to stop
// after one of them ended by itself: the runtime has to be back soon.
const crashGrace = 2 * time.Second

// running is one start of a runtime: its processes, until all of them are gone.
type running struct {
	box   *box
	plan  cartridge.Plan // expanded, but for its actions
	site  site
	found map[string]string // the plan's programs
	procs []*process
	tails *tails        // nil before any of them runs
	ended chan *process // the processes that ended by themselves
	acts  acts
}

// site is what a runtime finds on the instance.
type site struct {
	layout
	revision string
	env      map[string]string // of the release, over what the plan says
	marks    map[string]string // variables that tell whose volumes a process uses
}

// box is what all runtimes of one agent share.
type box struct {
	starter  *starter
	programs programs
	env      map[string]string // added to every process
	groups   *groups           // of the processes that run now
	fronts   *fronts           // nil: runtimes are reached as they are, in the clear
}

// startRuntime writes the plan's files, runs the hooks that come before its
// processes, and starts those; each line that
// they print goes to add. After an error nothing runs.
func (b *box) startRuntime(ctx context.Context, plan cartridge.Plan, at site, add func(source, line string)) (*running, error) {
	r, commands, err := b.fit(plan, at)
	if err != nil {
		return nil, err
	}
	if err := layOut(r.plan, at.layout); err != nil {
		return nil, err
	}
	r.tails = followFiles(at.Dir, r.plan.Logs, add)
	if err := r.hooks(ctx, cartridge.ArtifactsUpdated, add); err != nil {
		return nil, errors.Join(err, r.stop(0))
	}
	for _, c := range commands {
		if err := r.start(c, add); err != nil {
			return nil, errors.Join(err, r.stop(0))
		}
	}
	return r, nil
}

// fit fills the plan in, and refuses what can be refused without running it.
func (b *box) fit(plan cartridge.Plan, at site) (*running, []command, error) {
	found, err := b.programs.resolve(plan.Programs)
	if err != nil {
		return nil, nil, err
	}
	if err := cartridge.CheckEnv(at.env); err != nil {
		return nil, nil, refuse("the environment does not fit: %v", err)
	}
	expanded, err := plan.Expand(at.layout)
	if err != nil {
		return nil, nil, refuse("the plan does not fit: %v", err)
	}
	r := &running{box: b, plan: expanded, site: at, found: found, ended: make(chan *process, len(expanded.Processes))}
	var commands []command
	for _, p := range expanded.Processes {
		c, err := r.command(p)
		if err != nil {
			return nil, nil, err
		}
		commands = append(commands, c)
	}
	return r, commands, nil
}

// command makes what to start out of a process of the plan.
func (r *running) command(p cartridge.Process) (command, error) {
	b, at := r.box, r.site
	c := command{name: p.Name, args: p.Args, dir: p.Dir, path: p.Args[0]}
	if file, ok := r.found[c.path]; ok {
		c.path = file
	} else if !strings.ContainsRune(c.path, '/') {
		file, ok := b.programs.find(c.path)
		if !ok {
			return c, refuse("not installed on the instance: %s, which process %q needs", c.path, p.Name)
		}
		c.path = file
	} else if !filepath.IsAbs(c.path) {
		c.path = filepath.Join(p.Dir, c.path)
	}
	env := map[string]string{
		"PATH":   b.programs.String(),
		"HOME":   at.Dir,
		"TMPDIR": filepath.Join(at.Dir, "tmp"),
		"LANG":   "C.UTF-8",
	}
	if port, ok := at.Ports[cartridge.DefaultPort]; ok {
		env["PORT"] = fmt.Sprint(port)
	}
	maps.Copy(env, p.Env)
	maps.Copy(env, at.env)
	maps.Copy(env, b.env)
	maps.Copy(env, at.marks)
	env[markEnv] = at.Dir
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.env = append(c.env, name+"="+env[name])
	}
	return c, nil
}

func (r *running) start(c command, add func(source, line string)) error {
	p, err := startProcess(r.box.starter, c, func(line string) { add(c.name, line) })
	if err != nil {
		return startError(err, c)
	}
	r.procs = append(r.procs, p)
	r.box.groups.add(p.pid())
	p.group.Go(func() {
		<-p.exited
		r.ended <- p // has room for all
	})
	return nil
}

// startError says whose fault it is that a program does not start.
func startError(err error, c command) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOEXEC) || errors.Is(err, unix.ENOTDIR) {
		return refuse("process %q does not start: %v: is %s there, executable, and its interpreter installed?", c.name, err, c.path)
	}
	return err
}

// healthy waits until the runtime is well. A *refusal says why it is not.
func (r *running) healthy(ctx context.Context, c *checker) error {
	deadline := time.Now().Add(c.health.Start)
	var last error
	for wait := firstCheck; ; wait = min(wait*3/2, slowestCheck) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-r.ended:
			return &ended{process: p}
		case <-time.After(wait):
		}
		checking, cancel := context.WithDeadline(ctx, deadline)
		err := c.check(checking)
		cancel()
		if err == nil {
			return nil
		}
		if err = betterOf(last, err); !time.Now().Before(deadline) {
			return c.late(err)
		}
		last = err
	}
}

// betterOf keeps an answer that was wrong over a connection that failed only
// because the time was up.
func betterOf(last, now error) error {
	var bad *badAnswer
	if errors.As(last, &bad) && errors.Is(now, context.DeadlineExceeded) {
		return last
	}
	return now
}

// ended says that a process ended by itself.
type ended struct{ process *process }

func (e *ended) Error() string { return fmt.Sprintf("process %q ended", e.process.name) }

// stop ends all processes: first with the plan's signal, and after grace by
// force, together with whatever left its group but carries the runtime's mark.
// It returns after all of them are gone, and the actions beside them. A grace
// of 0 is no time at all.
func (r *running) stop(grace time.Duration) error {
	_, err := r.stopAll(grace)
	return err
}

// stopAll is stop, and says how each process ended.
func (r *running) stopAll(grace time.Duration) (map[*process]string, error) {
	var errs []error
	r.acts.stop()
	if grace > 0 {
		for _, p := range r.procs {
			errs = append(errs, p.signal(stopSignal(r.plan.Stop.Signal)))
		}
		r.awaitGroups(grace)
	}
	for _, p := range r.procs {
		errs = append(errs, p.signal(unix.SIGKILL))
	}
	errs = append(errs, sweep(markedBy(func(dir string) bool { return dir == r.site.Dir })))
	how := map[*process]string{}
	for _, p := range r.procs {
		text, err := p.end()
		how[p] = text
		errs = append(errs, err)
		r.box.groups.remove(p.pid())
	}
	r.tails.stop()
	r.tails = nil
	return how, errors.Join(errs...)
}

// awaitGroups waits until all groups are empty, at most for grace.
func (r *running) awaitGroups(grace time.Duration) {
	over := time.NewTimer(grace)
	defer over.Stop()
	for _, p := range r.procs {
		select {
		case <-p.exited:
		case <-over.C:
			return
		}
	}
	// The leaders are gone. What they started may still finish its work.
	for r.membersLeft() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-over.C:
			return
		}
	}
}

func (r *running) membersLeft() bool {
	all, err := procfs.All()
	if err != nil {
		return false // the groups are killed next
	}
	return slices.ContainsFunc(all, func(s procfs.Stat) bool {
		return s.Runs() && slices.ContainsFunc(r.procs, func(p *process) bool { return p.pid() == s.Group })
	})
}

func stopSignal(name string) unix.Signal {
	switch name {
	case "QUIT":
		return unix.SIGQUIT
	case "INT":
		return unix.SIGINT
	}
	return unix.SIGTERM
}
