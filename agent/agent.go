package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// Agent runs one member. Dir and UserData must be set.
type Agent struct {
	// Dir is the agent's own folder; it is made if it is not there. Two agents
	// never work in one: the second is refused.
	Dir string
	// UserData is what the instance was started with.
	UserData wire.UserData

	// Address is where others reach the instance. If UserData has a CA, the
	// runtime's ports are served there by mutual TLS, unless it is the machine's
	// own loopback, where all is plain. Default: every address of the instance.
	Address string
	// HTTP calls the control plane. Its Transport is used, and must know
	// UserData.CA; its Timeout is not: calls have deadlines of their own.
	// Default: a client of the agent's own, which trusts UserData.CA alone, or
	// the system's roots if that is empty.
	HTTP *http.Client
	// Log gets what the operator of the platform should know; what the
	// runtimes print goes to the control plane and to Dir/log. Default: none.
	Log *slog.Logger
	// Topology is where the member's record is seen. Default: the control
	// plane's stream of the member's cluster.
	Topology topology.Source
	// Instance is the cloud's own name for the instance, told at the join, so
	// that an instance whose launch was never answered is known again.
	// Default: none, where nobody tells the agent.
	Instance string
	// Env is added to the environment of every process of a runtime, over what
	// the plan says. Default: nothing.
	Env map[string]string
	// Volumes is a folder on this machine below which the volumes of
	// subscriptions are; it outlives the agent, and agents share it. Default:
	// none, and plans with volumes are refused.
	Volumes string
}

// Run joins the control plane and serves what is assigned to the member, until
// ctx ends or the control plane says that the member is terminated: both are a
// graceful stop and no error. It returns after everything that it started has
// ended. An error says why the member can never serve: the control plane
// refuses it, or its folder cannot be used.
func (a *Agent) Run(ctx context.Context) error {
	home, err := a.home()
	if err != nil {
		return err
	}
	lock, err := lockDir(home)
	if err != nil {
		return err
	}
	err = a.run(ctx, home)
	return errors.Join(err, lock.Close())
}

func (a *Agent) home() (string, error) {
	if a.Dir == "" {
		return "", errors.New("the agent has no folder: set Dir")
	}
	home, err := filepath.Abs(a.Dir)
	if err != nil {
		return "", err
	}
	if u := a.UserData; u.Cluster == "" || u.Member == "" || len(u.Control) == 0 {
		return "", errors.New("the user-data names no cluster, no member or no control plane")
	}
	return home, os.MkdirAll(home, 0o700)
}

// volumesRoot is Volumes, absolute.
func (a *Agent) volumesRoot() (string, error) {
	if a.Volumes == "" {
		return "", nil
	}
	return filepath.Abs(a.Volumes)
}

// lockDir makes sure that no other agent works in the folder.
func lockDir(home string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(home, "agent.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another agent works in %s: stop it first", home)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// prepare makes the folder ready: nothing of an earlier agent runs, and nothing
// of it is left but the key, the log and the data. Releases are fetched again:
// one that was being written when the power went might be damaged.
func prepare(home string) error {
	runtimes := filepath.Join(home, "runtimes")
	err := sweep(markedBy(func(dir string) bool { return strings.HasPrefix(dir, runtimes+string(filepath.Separator)) }))
	if err != nil {
		return fmt.Errorf("ending what an earlier agent left: %w", err)
	}
	for _, dir := range []string{runtimes, filepath.Join(home, "releases")} {
		if err := removeTree(dir); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(home, "data"), 0o700)
}

func (a *Agent) run(ctx context.Context, home string) error {
	if err := prepare(home); err != nil {
		return err
	}
	root, err := a.volumesRoot()
	if err != nil {
		return err
	}
	key, err := openKey(filepath.Join(home, "key"))
	if err != nil {
		return err
	}
	firstLine, err := openNumbers(filepath.Join(home, "log.next"))
	if err != nil {
		return err
	}
	now := &clock{}
	id, err := openIdentity(home, a.UserData, now, a.log())
	if err != nil {
		return err
	}
	client := a.HTTP
	if client == nil {
		own := ownTransport(id)
		defer own.CloseIdleConnections()
		client = &http.Client{Transport: own}
	}
	control := newControl(a.UserData, client, key, now)
	first, err := control.join(ctx, key, a.Instance, id, a.log())
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	a.serve(ctx, home, root, control, id, firstLine, first)
	return nil
}

// serve wires the parts together and runs them. The supervisor ends first, so
// that the others can still say what it did.
func (a *Agent) serve(ctx context.Context, home, root string, control *control, id *identity, firstLine uint64, first wire.Assignment) {
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	log := a.log()
	toFile, toControl := make(chan struct{}, 1), make(chan struct{}, 1)
	lines := newJournal(firstLine, toFile, toControl)
	running := newGroups()
	threads := newStarter()
	report := &reporter{control: control, groups: running, log: log, gone: gone, bell: make(chan struct{}, 1), heartbeat: defaultHeartbeat}
	file := &logFile{path: filepath.Join(home, "log"), journal: lines, bell: toFile, log: log, next: firstLine}
	ship := &shipper{control: control, journal: lines, bell: toControl, path: filepath.Join(home, "log.next"), log: log, gone: gone, next: firstLine}
	shared := &box{starter: threads, programs: newPrograms(os.Getenv("PATH")), env: a.Env, groups: running}
	if id != nil && !loopback(a.Address) {
		shared.fronts = &fronts{address: a.Address, config: id.serverConfig(), log: log}
	}

	var senders, watchers sync.WaitGroup
	if id != nil {
		watchers.Go(func() { id.keep(ctx, control) })
	}
	say, quiet := context.WithCancel(context.WithoutCancel(ctx))
	senders.Go(threads.run)
	senders.Go(func() { report.Run(say) })
	senders.Go(func() { file.Run(say) })
	senders.Go(func() { ship.Run(say) })

	hints := make(chan wire.ReleaseRef, 1)
	answers := make(chan wire.Assignment)
	records := make(chan news, 1)
	duties := make(chan duty, 1)
	bounds := make(chan bound, 1)
	source := a.Topology
	if source == nil {
		s := a.stream(control)
		watchers.Go(func() { follow(ctx, s, gone, log) })
		source = s
	}
	watch := &watcher{
		source: source, log: log,
		cluster: topology.ClusterID(a.UserData.Cluster), member: topology.MemberID(a.UserData.Member),
	}
	ask := &assigner{control: control, log: log, gone: gone}
	watchers.Go(func() { watch.Run(ctx, records) })
	watchers.Go(func() { ask.Run(ctx, hints, answers) })

	care := &caretaker{control: control, duties: duties, bounds: bounds, gone: gone, log: log}
	watchers.Go(func() { care.Run(ctx) })

	super := &supervisor{
		newSlot: func(as wire.Assignment, n int, proven bool) *slot {
			return &slot{
				a: as, plan: as.Plan.WithDefaults(), n: n, home: home, root: root, proven: proven,
				box: shared, control: control, journal: lines, log: log,
			}
		},
		reporter: report, hints: hints, duties: duties, bounds: bounds, gone: gone, log: log,
	}
	super.Run(ctx, first, answers, records)
	watchers.Wait()
	threads.close()
	quiet()
	senders.Wait()
}

// stream is the topology of the member's cluster, as the control plane tells it.
func (a *Agent) stream(c *control) *stream.Client {
	return &stream.Client{
		URLs:  a.UserData.Control,
		HTTP:  c.http,
		Scope: stream.ClusterScope(topology.ClusterID(a.UserData.Cluster)),
		Log:   a.Log,
		// Two of the control plane's periods: a replica that is cut off says
		// nothing, another one does.
		Silence: 30 * time.Second,
	}
}

func (a *Agent) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}
