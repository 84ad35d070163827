package cartridgetest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// Connect lets a dependent in, as an agent does.
func (r *Runtime) Connect(b cartridge.Binding) {
	r.t.Helper()
	require.NoError(r.t, r.act(r.plan.Service.Connect, &b, nil, nil))
}

// Disconnect lets it in no more.
func (r *Runtime) Disconnect(b cartridge.Binding) {
	r.t.Helper()
	require.NoError(r.t, r.act(r.plan.Service.Disconnect, &b, nil, nil))
}

// Backup returns what is stored, as the plan's service prints it.
func (r *Runtime) Backup() string {
	r.t.Helper()
	var out strings.Builder
	require.NoError(r.t, r.act(*r.plan.Service.Backup, nil, nil, &out))
	return out.String()
}

// Restore brings back what Backup returned. It returns the error of the action.
func (r *Runtime) Restore(backup string) error {
	r.t.Helper()
	return r.act(*r.plan.Service.Restore, nil, strings.NewReader(backup), nil)
}

// Again starts the runtime anew after it has ended, on the same volumes.
func (r *Runtime) Again() *Runtime {
	r.t.Helper()
	r.machine.besides++
	return r.machine.start(fmt.Sprintf("again-%d", r.machine.besides))
}

// Relaunch is [Runtime.Again] that does not wait.
func (r *Runtime) Relaunch() *Runtime {
	r.t.Helper()
	r.machine.besides++
	return r.machine.launch(fmt.Sprintf("again-%d", r.machine.besides))
}

// Volume is the folder of a volume.
func (r *Runtime) Volume(name string) string { return r.vars.Volumes[name] }

// Secret is the value of a secret.
func (r *Runtime) Secret(name string) string { return r.vars.Secrets[name] }

// act runs an action beside the runtime. Its standard input is the plan's, or in.
func (r *Runtime) act(a cartridge.Action, b *cartridge.Binding, in io.Reader, out io.Writer) error {
	r.t.Helper()
	v := r.vars
	v.Binding = b
	a, err := a.Expand(v)
	require.NoError(r.t, err)
	ctx, cancel := context.WithTimeout(r.t.Context(), a.Timeout)
	defer cancel()
	cmd := r.machine.command(r, cartridge.Process{Args: a.Args, Env: a.Env, Dir: r.Release})
	var said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	if in == nil {
		cmd.Stdin = strings.NewReader(a.Input)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })() // Wait says what became of it
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return nil
}
