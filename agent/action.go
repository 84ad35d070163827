package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/cartridge"
)

// actionEnv marks the processes of an action, beside the mark of its runtime.
const actionEnv = "STRATOS_ACTION"

// errRuntimeEnds says that an action could not go on because its runtime stops.
var errRuntimeEnds = errors.New("the runtime stops")

// actionError says why an action failed: the fault is its own.
type actionError struct{ reason string }

func (e *actionError) Error() string { return e.reason }

// acts are the actions beside a runtime, one at a time. The zero value is
// ready.
type acts struct {
	mu      sync.Mutex
	end     context.CancelCauseFunc // of the newest one
	over    bool
	n       int // how many were given a number
	running sync.WaitGroup
}

// number is one that no other action of the runtime has.
func (a *acts) number() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	return a.n
}

// begin is called before actions, and the returned function after them.
func (a *acts) begin(ctx context.Context) (context.Context, func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return nil, nil, errRuntimeEnds
	}
	ctx, a.end = context.WithCancelCause(ctx)
	a.running.Add(1)
	end := a.end
	return ctx, func() { end(nil); a.running.Done() }, nil
}

// stop ends the action that runs, waits for its end, and lets none begin.
func (a *acts) stop() {
	a.mu.Lock()
	a.over = true
	end := a.end
	a.mu.Unlock()
	if end != nil {
		end(errRuntimeEnds)
	}
	a.running.Wait()
}

// beside does something with actions, and not longer than the runtime runs: it
// stops only after do has returned.
func (r *running) beside(ctx context.Context, do func(context.Context) error) error {
	ctx, done, err := r.acts.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return do(ctx)
}

// within ends ctx, and what an action does under it, after its timeout.
func within(ctx context.Context, a cartridge.Action) (context.Context, context.CancelFunc) {
	late := &actionError{reason: fmt.Sprintf("it did not end within %v", a.Timeout)}
	return context.WithTimeoutCause(ctx, a.Timeout, late)
}

// deed is one run of an action.
type deed struct {
	what    string // for messages: `connecting "u1"`
	action  cartridge.Action
	binding *cartridge.Binding // nil: it is about nobody
	in      io.Reader          // nil: the action's input
	out     io.Writer          // nil: what it prints is for messages
	// lines, if it is set, gets what is printed as well, instead of out.
	lines func(line string)
}

// act runs an action to its end; then nothing of it is left. It is called
// within beside. The error is an *actionError, with the end of what the action
// printed, unless others are to blame: ctx, in or out.
func (r *running) act(ctx context.Context, d deed) error {
	vars := r.site.layout
	vars.Binding = d.binding
	filled, err := d.action.Expand(vars)
	if err != nil {
		return &actionError{reason: fmt.Sprintf("%s: the action does not fit: %v", d.what, err)}
	}
	c, err := r.command(cartridge.Process{Name: d.what, Args: filled.Args, Dir: r.site.Release, Env: filled.Env})
	if err != nil {
		return &actionError{reason: err.Error()}
	}
	mark := fmt.Sprintf("%s=%s/%d", actionEnv, r.site.Dir, r.acts.number())
	c.env = append(c.env, mark)

	ctx, early := within(ctx, d.action)
	defer early()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	exited := make(chan struct{})
	said := &ending{}
	in := &source{r: d.in, broken: func(err error) { cancel(err); <-exited }}
	if d.in == nil {
		in.r = strings.NewReader(filled.Input)
	}
	out := &sink{w: d.out}
	if d.out == nil {
		out.w = said
	}
	delay := drainOutput
	if d.in != nil || d.out != nil {
		delay = d.action.Timeout // the other side may be slow, and ends with ctx
	}
	cmd := &exec.Cmd{
		Path: c.path, Args: c.args, Dir: c.dir, Env: c.env,
		Stdin: in, Stdout: out, Stderr: said, WaitDelay: delay,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if d.lines != nil {
		shown := newLineWriter(d.lines)
		defer shown.end()
		cmd.Stdout = io.MultiWriter(said, shown)
		cmd.Stderr = cmd.Stdout // in the order in which it is printed
	}
	err = r.toItsEnd(ctx, c, cmd, mark, exited)
	return r.verdict(ctx, d, err, said, in, out)
}

// toItsEnd runs cmd until it ends or ctx does, and ends what is left of it.
// exited is closed when its leader has ended.
func (r *running) toItsEnd(ctx context.Context, c command, cmd *exec.Cmd, mark string, exited chan struct{}) error {
	if err := r.box.starter.start(cmd); err != nil {
		close(exited)
		return startError(err, c)
	}
	group := cmd.Process.Pid
	r.box.groups.add(group)
	defer r.box.groups.remove(group)
	p := &process{name: c.name, cmd: cmd, exited: exited}
	p.group.Go(p.watch)
	select {
	case <-exited:
	case <-ctx.Done():
	}
	errs := []error{
		p.signal(unix.SIGKILL), // who is left of the group
		sweep(func(entry string) bool { return entry == mark }),
	}
	p.group.Wait()
	return errors.Join(append(errs, cmd.Wait())...)
}

// verdict says what the end of an action means.
func (r *running) verdict(ctx context.Context, d deed, err error, said *ending, in *source, out *sink) error {
	var failed *actionError
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &failed):
		err = failed
	case in.err != nil:
		return fmt.Errorf("%s: its input: %w", d.what, in.err)
	case cause != nil:
		return fmt.Errorf("%s: %w", d.what, cause)
	case out.failed() != nil:
		return fmt.Errorf("%s: its output: %w", d.what, out.failed())
	case err == nil:
		return nil
	}
	text := fmt.Sprintf("%s: %v", d.what, err)
	if end := said.String(r.confidential(d.binding)); end != "" {
		text += ": " + end
	}
	return &actionError{reason: text}
}

// source is what an action reads. An action whose input breaks off is ended
// before it takes the rest for the whole.
type source struct {
	r      io.Reader
	broken func(error) // ends the action, and waits for that
	err    error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
		s.broken(err)
	}
	return n, err
}

// sink takes what an action prints, and knows whether that was possible.
type sink struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *sink) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
