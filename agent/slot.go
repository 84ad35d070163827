package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

// eventKind says what happened to a slot.
type eventKind int

const (
	slotWaits   eventKind = iota // it is not up yet, for a reason that may pass
	slotReady                    // it has been fetched and checked, and takes its volumes
	slotUp                       // its runtime is healthy
	slotSick                     // its runtime answers no more
	slotDown                     // its runtime ended, and starts again
	slotRefused                  // its release cannot run; it ends
	slotEnded                    // nothing of it runs any more
)

// event is what a slot tells its supervisor.
type event struct {
	slot   *slot
	kind   eventKind
	reason string
	log    string         // slotRefused
	ports  map[string]int // slotUp
	live   *running       // slotUp
}

// slot holds one release on the instance: it fetches it, brings its runtime up,
// keeps it up, and takes it away when its context ends.
type slot struct {
	a    wire.Assignment
	plan cartridge.Plan // with its defaults
	n    int            // unique in one run of the agent, growing
	home string         // the agent's folder
	root string         // of the volumes; empty: there are none
	// proven: it did serve before, so that what refuses it now may pass.
	proven bool

	dir, release, data string // folders; empty before they have names

	box     *box
	control *control
	journal *journal
	log     *slog.Logger
	tail    tail
	ports   portClaims
	front   *front   // nil: the ports are reached as they are
	volumes *volumes // nil before they have names
}

// run brings the release up and keeps it up until ctx ends.
func (s *slot) run(ctx context.Context, report func(event)) {
	defer report(event{slot: s, kind: slotEnded})
	defer s.cleanUp()
	say := func(kind eventKind, reason string) { report(event{slot: s, kind: kind, reason: reason}) }
	r, err := s.first(ctx, say)
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.say("release %s is refused: %s", short(s.a.Revision), no.reason)
		report(event{slot: s, kind: slotRefused, reason: no.reason, log: s.tail.String()})
		return
	case err != nil:
		return // ctx has ended
	}
	s.keep(ctx, r, func(r *running) { report(event{slot: s, kind: slotUp, ports: s.reached(), live: r}) }, say)
}

// first brings the release up for the first time. What may pass is tried again
// until ctx ends.
func (s *slot) first(ctx context.Context, say func(eventKind, string)) (*running, error) {
	if err := s.plan.Check(); err != nil {
		return nil, refuse("the plan is not one that this agent can execute: %v", err)
	}
	if err := s.folders(); err != nil {
		return nil, err
	}
	err := s.insist(ctx, say, func() error { return s.control.unpackRelease(ctx, s.a, s.release) })
	if err != nil {
		return nil, err
	}
	if err := s.insist(ctx, say, s.tryOut); err != nil {
		return nil, err
	}
	say(slotReady, "")
	if err := s.volumes.await(ctx, func(reason string) { s.waits(reason, say) }); err != nil {
		return nil, err
	}
	if err := s.insist(ctx, say, s.link); err != nil {
		return nil, err
	}
	s.say("release %s starts", short(s.a.Revision))
	var r *running
	err = s.insist(ctx, say, func() (err error) {
		r, err = s.start(ctx)
		return err
	})
	return r, err
}

// insist does something until it succeeds, is refused, or ctx ends.
func (s *slot) insist(ctx context.Context, say func(eventKind, string), do func() error) error {
	wait := backoff{First: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		err := do()
		var no *refusal
		if err == nil || errors.As(err, &no) && !s.proven {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if answered(err, http.StatusGone) {
			<-ctx.Done() // the status hears it as well, and ends everything
			return ctx.Err()
		}
		s.log.Warn("bringing the release up, trying again", "revision", s.a.Revision, "err", err)
		say(slotWaits, err.Error())
		if !wait.Pause(ctx) {
			return ctx.Err()
		}
	}
}

// tryOut refuses what can be refused before anything is started.
func (s *slot) tryOut() error {
	ports := map[string]int{}
	for i, p := range s.plan.Ports {
		ports[p.Name] = firstPort + i
	}
	_, _, err := s.box.fit(s.plan, s.site(ports))
	return err
}

// waits says what the slot waits for.
func (s *slot) waits(reason string, say func(eventKind, string)) {
	s.say("release %s: %s", short(s.a.Revision), reason)
	say(slotWaits, reason)
}

// site is where the runtime finds its things, with these ports.
func (s *slot) site(ports map[string]int) site {
	return site{
		layout: layout{
			Ports: ports, Release: s.release, Dir: s.dir, Data: s.data,
			Volumes: s.volumes.folders(), Secrets: s.a.Secrets,
		},
		revision: s.a.Revision, env: s.a.Env, marks: s.volumes.marks(),
	}
}

// start starts the runtime and waits until it is healthy. After an error
// nothing runs.
func (s *slot) start(ctx context.Context) (*running, error) {
	if err := s.claim(); err != nil {
		return nil, err
	}
	if err := s.volumes.clear(); err != nil {
		return nil, err
	}
	ports := s.ports.numbers()
	r, err := s.box.startRuntime(ctx, s.plan, s.site(ports), s.print)
	if err != nil {
		return nil, err
	}
	err = r.healthy(ctx, newChecker(s.plan.Health, ports[s.plan.Health.Port]))
	if err == nil {
		err = r.hooks(ctx, cartridge.InstanceActivated, s.print)
	}
	if err == nil {
		s.front.point(ports)
		return r, nil
	}
	grace := min(crashGrace, s.plan.Stop.Grace)
	how, stopErr := r.stopAll(grace)
	s.note(stopErr)
	if end := (*ended)(nil); errors.As(err, &end) {
		err = refuse("process %q ended while the app started: %s", end.process.name, how[end.process])
	}
	// Somebody may sit on a port although it looked free: not on these again.
	s.note(s.ports.release())
	s.ports = nil
	return nil, err
}

// claim makes sure that the slot has ports: those that it had, if nobody took
// them. What is in front of them stays the same, whatever they are.
func (s *slot) claim() (err error) {
	var names []string
	for _, p := range s.plan.Ports {
		names = append(names, p.Name)
	}
	if s.front == nil && s.box.fronts != nil {
		if s.front, err = s.box.fronts.open(names); err != nil {
			return err
		}
	}
	if s.ports != nil && s.ports.free() {
		return nil
	}
	s.note(s.ports.release())
	s.ports, err = claimPorts(names)
	return err
}

// reached is the ports that others reach the runtime by.
func (s *slot) reached() map[string]int {
	if s.front != nil {
		return s.front.numbers()
	}
	return s.ports.numbers()
}

// print takes a line that a process of the runtime printed.
func (s *slot) print(source, line string) {
	s.journal.Add(source, line)
	s.tail.Add(line)
}

// say tells the tenant, in the log, what the agent does.
func (s *slot) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for line := range strings.SplitSeq(text, "\n") {
		s.journal.Add("agent", line)
	}
	s.log.Info(text, "revision", s.a.Revision, "runtime", s.n)
}

// note logs what went wrong while cleaning up: the next start does it again.
func (s *slot) note(err error) {
	if err != nil {
		s.log.Error("cleaning up after a runtime", "runtime", s.n, "err", err)
	}
}

// folders names the slot's folders. They are removed in the end, so a name that
// could lead elsewhere is refused before.
func (s *slot) folders() error {
	if err := checkNames(s.a); err != nil {
		return err
	}
	v, err := newVolumes(s.root, s.a)
	if err != nil {
		return err
	}
	s.volumes = v
	plan := strings.TrimPrefix(s.a.PlanID, "sha256-")
	s.release = filepath.Join(s.home, "releases", fmt.Sprintf("%s-%s.%d", s.a.Revision, short(plan), s.n))
	s.dir = filepath.Join(s.home, "runtimes", strconv.Itoa(s.n))
	s.data = filepath.Join(s.home, "data")
	return nil
}

// cleanUp removes everything of the slot, once nothing of it runs.
func (s *slot) cleanUp() {
	s.note(s.front.close())
	s.note(s.ports.release())
	s.note(s.volumes.release())
	for _, dir := range []string{s.dir, s.release} {
		if dir != "" {
			s.note(removeTree(dir))
		}
	}
}

// short is how a revision is shown to people.
func short(revision string) string { return revision[:min(len(revision), 12)] }
