package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/gostratos/stratos/agent"
	"github.com/gostratos/stratos/agent/wire"
)

// agentArg and instanceEnv make a process an agent; it takes both, because what
// an agent starts may inherit its environment.
const (
	agentArg    = "local-agent"
	instanceEnv = "STRATOS_LOCAL_INSTANCE" // the instance's folder
)

// mainCalled is the one thing that a driver cannot be told through a value:
// whether this program, when started again, will be an agent.
var mainCalled atomic.Bool

// Main runs this process as an agent, and exits, if a [Driver] started it as
// one; else it returns at once. Call it first in main, before flags are read
// or anything is printed: [Driver.Open] fails in a program that did not.
func Main() { mainOf(agentRun) }

// mainOf is Main for any agent.
func mainOf(run func(context.Context, *agent.Agent) error) {
	mainCalled.Store(true)
	if f, ok := startedFor(os.Args, os.Getenv(instanceEnv)); ok {
		os.Exit(serve(f, run))
	}
}

func agentRun(ctx context.Context, a *agent.Agent) error { return a.Run(ctx) }

// startedFor tells an agent's process from all others.
func startedFor(args []string, env string) (folder, bool) {
	f := folder(env)
	return f, len(args) == 3 && args[1] == agentArg && filepath.IsAbs(env) && args[2] == f.name()
}

// serve is an agent's life; it returns the exit status.
func serve(f folder, run func(context.Context, *agent.Agent) error) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	syscall.CloseOnExec(3)
	tell := os.NewFile(3, "handshake")

	// TERM ends the agent gracefully from here on, also before it is ready.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	data, address, lock, err := takeFolder(f)
	if errors.Is(err, errLocked) {
		held.say(tell)
		return 0
	}
	if err != nil {
		log.Error("the agent cannot start", "err", err)
		handshake(failed + err.Error()).say(tell)
		return 1
	}
	defer lock.Close()
	ready.say(tell)
	if err := tell.Close(); err != nil {
		log.Warn("ending the handshake", "err", err)
	}
	a := &agent.Agent{
		Dir: f.path("agent"), UserData: data, Address: address, Log: log,
		Env:     map[string]string{instanceEnv: string(f)}, // by which Terminate finds what runs
		Volumes: f.volumes(),
	}
	if err := run(ctx, a); err != nil {
		log.Error("the agent ends", "err", err)
		return 1
	}
	return 0
}

// takeFolder makes this process the folder's only agent: lock, then look
// whether it shall end already, then pid.json. Terminate goes the other way
// round (terminate, then lock), so that one of the two sees the other.
func takeFolder(f folder) (data wire.UserData, address string, lock io.Closer, err error) {
	if lock, err = tryLock(f.path("lock")); err != nil {
		return data, "", nil, err
	}
	c, err := f.claim()
	if err == nil {
		err = beAgent(f, &data)
	}
	if err != nil {
		return data, "", nil, errors.Join(err, lock.Close())
	}
	return data, cmp.Or(c.Address, loopback), lock, nil
}

func beAgent(f folder, data *wire.UserData) error {
	_, ending, err := f.ending()
	if err != nil {
		return err
	}
	if ending {
		return errors.New("the instance is asked to end")
	}
	_, started, err := f.agent()
	if err != nil {
		return err
	}
	if started {
		return errors.New("the instance has had its agent: it does not run again")
	}
	b, err := os.ReadFile(f.path("user-data"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, data); err != nil {
		return errors.New("user-data is not JSON") // without a word of it
	}
	if err := os.MkdirAll(f.path("agent"), 0o700); err != nil {
		return err
	}
	return writePID(f)
}

// writePID makes the instance known as running. Nothing is synced: after a
// crash of the machine there is no such process.
func writePID(f folder) error {
	p, err := self()
	if err != nil {
		return err
	}
	exe, err := os.Readlink(executable)
	if err != nil {
		return err
	}
	p.Binary = filepath.Base(exe)
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp := f.path("pid.json.tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, f.path("pid.json"))
}
