package controller

import (
	"container/heap"
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

// sim is a world in which the real controller runs, single-threaded and in
// virtual time, against store/mem and a faulty cloud. Every look, call and
// message is a task that gives way at each call to the store or the cloud;
// which goes on is drawn from the seed. The same seed is the same history.
type sim struct {
	seed    uint64
	rnd     *rand.Rand
	now     time.Time
	events  events
	serial  int
	tasks   []*task
	idle    []*task
	current *task
	level   float64 // the share of calls that go wrong, in trouble
	faults  float64 // and just now
	broken  string  // the first broken promise
	keep    bool    // the log's lines, for whoever reads them
	lines   []string
	hash    interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}

	records *mem.Store
	id      store.ID
	views   []*topology.View // one for each revision that was committed
	cloud   *simCloud
	life    *life   // who leads
	lives   []*life // all that ever were
	paused  bool    // whether a leader was ever paused
	check   checks
	wants   map[topology.ClusterID]*simWant
}

// task is something that the controller does, or an agent: a coroutine.
type task struct {
	of    *life
	do    func() // nil: it is done
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	ready func() bool // nil: it can go on
}

// newTask makes a coroutine that does one thing after another.
func newTask() *task {
	t := &task{}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		for more := true; more; more = yield(struct{}{}) {
			t.do()
			t.do = nil
		}
	})
	return t
}

// goOn lets a task go on, and reports whether it is done.
func (s *sim) goOn(t *task) (done bool) {
	s.current = t
	t.next()
	s.current = nil
	if t.do == nil {
		s.idle = append(s.idle, t)
	}
	return t.do == nil
}

// simEvent is something that happens at a time.
type simEvent struct {
	at     time.Time
	serial int
	do     func()
	off    bool
}

type events []*simEvent

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*simEvent)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// simStart is when every history begins.
var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newSim(seed uint64) *sim {
	kinds := []cloud.Idempotency{cloud.ByToken, cloud.ByName, cloud.ByTags}
	s := &sim{
		seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), now: simStart, hash: fnv.New64a(),
		records: mem.New(), id: store.ID{UUID: "simulated", Generation: 1}, views: []*topology.View{{}},
		wants: map[topology.ClusterID]*simWant{},
	}
	s.check = newChecks()
	s.level = []float64{.05, .1, .3}[s.rnd.IntN(3)]
	s.faults = s.level
	s.cloud = &simCloud{sim: s, kind: kinds[seed%3], lag: 5 * time.Second, byKey: map[string]*simInstance{}}
	return s
}

// logf writes one line of history.
func (s *sim) logf(format string, args ...any) {
	line := fmt.Sprintf("%9.3f "+format, append([]any{s.now.Sub(simStart).Seconds()}, args...)...)
	s.hash.Write([]byte(line))
	if s.keep {
		s.lines = append(s.lines, line)
	}
}

// fail records a broken promise.
func (s *sim) fail(format string, args ...any) {
	if s.broken == "" {
		s.broken = fmt.Sprintf(format, args...)
		s.logf("BROKEN %s", s.broken)
	}
}

// chance is true with a probability.
func (s *sim) chance(p float64) bool { return p > 0 && s.rnd.Float64() < p }

// fault is true as often as faults are, times share.
func (s *sim) fault(share float64) bool { return s.chance(s.faults * share) }

// within draws a duration.
func (s *sim) within(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rnd.Int64N(int64(hi-lo)+1))
}

// after does something later.
func (s *sim) after(d time.Duration, do func()) (stop func() bool) {
	s.serial++
	e := &simEvent{at: s.now.Add(max(d, 0)), serial: s.serial, do: do}
	heap.Push(&s.events, e)
	return func() bool { e.off = true; return true }
}

// start adds a task.
func (s *sim) start(of *life, do func()) {
	if len(s.idle) == 0 {
		s.idle = append(s.idle, newTask())
	}
	t := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	t.of, t.do = of, do
	s.tasks = append(s.tasks, t)
}

// giveWay lets other tasks go on first.
func (s *sim) giveWay() { s.current.yield(struct{}{}) }

// await lets others go on until ok.
func (s *sim) await(ok func() bool) {
	for !ok() {
		s.current.ready = ok
		s.giveWay()
	}
	s.current.ready = nil
}

// sleep lets a task wait in virtual time.
func (l *life) sleep(d time.Duration) {
	over := false
	l.after(d, func() { over = true })
	l.await(func() bool { return over || l.dead })
}

// runnable are the tasks that can go on.
func (s *sim) runnable() (all []int) {
	for i, t := range s.tasks {
		if t.of != nil && t.of.paused && !t.of.dead {
			continue
		}
		if t.ready == nil || t.ready() {
			all = append(all, i)
		}
	}
	return all
}

// step does one thing, and reports whether there was one.
func (s *sim) step() bool {
	if s.life != nil && !s.life.paused && !s.life.dead {
		s.life.begin()
	}
	can := s.runnable()
	if len(can) == 0 {
		return s.advance(time.Hour)
	}
	if s.chance(.03) {
		s.advance(s.within(0, 2*time.Second))
	}
	i := can[s.rnd.IntN(len(can))]
	t := s.tasks[i]
	if s.goOn(t) {
		s.tasks = append(s.tasks[:i], s.tasks[i+1:]...)
	}
	return true
}

// advance moves time to the next event, or by at most d if that is earlier.
func (s *sim) advance(d time.Duration) bool {
	for len(s.events) > 0 && s.events[0].off {
		heap.Pop(&s.events)
	}
	if len(s.events) == 0 {
		return false
	}
	if e := s.events[0]; e.at.Sub(s.now) > d {
		s.now = s.now.Add(d)
		return true
	}
	e := heap.Pop(&s.events).(*simEvent)
	if e.at.After(s.now) {
		s.now = e.at
	}
	e.do()
	return true
}

// until goes on until ok or the time has come.
func (s *sim) until(end time.Time, ok func() bool) bool {
	for s.broken == "" && s.now.Before(end) {
		if ok() {
			return true
		}
		if !s.step() {
			return ok()
		}
	}
	return false
}

// close ends what is still under way.
func (s *sim) close() {
	for _, l := range s.lives {
		l.dead, l.paused = true, false
		l.stop()
	}
	for len(s.tasks) > 0 {
		t := s.tasks[0]
		t.ready = nil
		if s.goOn(t) {
			s.tasks = s.tasks[1:]
		}
	}
	for _, t := range s.idle {
		t.stop()
	}
	s.records.Close()
}

// life is one process of the control plane: a controller and its reign.
type life struct {
	*sim
	n         int
	control   *Controller
	reign     *run
	ctx       context.Context
	stop      context.CancelFunc
	dead      bool
	paused    bool
	shown     int // the newest of sim.views that it has seen
	fed       *topology.View
	feeding   bool
	looking   int
	observing map[string]bool
	sweeps    map[string]time.Time
}

// lead begins a life, whose guard replaces the former leader's.
func (s *sim) lead() {
	if s.life != nil && !s.life.dead && !s.life.paused {
		return
	}
	ctx := context.Background()
	key := store.LeaderPrefix + "control"
	s.put(store.Op{Key: key, Delete: true})
	epoch := s.put(store.Op{Key: key, Value: fmt.Appendf(nil, "%d", len(s.lives))})
	l := &life{sim: s, n: len(s.lives), observing: map[string]bool{}, sweeps: map[string]time.Time{}}
	l.ctx, l.stop = context.WithCancel(ctx)
	parts := []cloud.Partition{{Name: "a", Max: 4}, {Name: "b"}}
	l.control = &Controller{
		Store: &simStore{life: l}, Topology: l,
		Accounts: []*cloud.Account{{
			Name: "here", Driver: &simDriver{life: l}, CallTimeout: 10 * time.Second, Rate: 1e9, Partitions: parts,
		}},
		UserData:  func(m topology.Member, token string) ([]byte, error) { return []byte(token), nil },
		Idle:      func(topology.ClusterID, topology.MemberID, string) bool { return true },
		Heartbeat: time.Minute, Boot: 5 * time.Minute, Sweep: 45 * time.Second,
	}
	l.control.clock.wall = func() time.Time { return s.now }
	l.control.clock.elapsed = func(start time.Time) time.Duration { return s.now.Sub(start) }
	l.reign = l.control.newRun(s.id, store.Cond{Key: key, Kind: store.CondCreate, Rev: epoch})
	l.reign.spawn = func(call func()) { s.start(l, call) }
	l.reign.queue.after = s.after
	s.life, s.lives = l, append(s.lives, l)
	s.logf("leader %d", l.n)
}

// die ends a life in the middle of whatever it does.
func (l *life) die(where string) {
	if l.dead {
		return
	}
	l.logf("leader %d dies %s", l.n, where)
	l.dead = true
	l.stop()
	if l.life == l {
		l.after(l.within(0, 20*time.Second), l.lead)
	}
}

// begin starts what a running reign would have started by now.
func (l *life) begin() {
	if !l.feeding && (l.fed == nil || l.views[len(l.views)-1].Rev > l.fed.Rev) {
		l.feeding = true
		l.start(l, func() {
			defer func() { l.feeding = false }()
			last := l.fed
			if last == nil {
				last = &topology.View{}
			}
			if v, err := l.reign.fed(l.ctx, last); err == nil {
				l.fed = v
			}
		})
	}
	if l.fed == nil {
		return
	}
	for l.looking < workers {
		id, ok := l.reign.queue.pop()
		if !ok {
			break
		}
		l.looking++
		l.start(l, func() {
			defer func() { l.looking-- }()
			if err := l.reign.look(l.ctx, id); err != nil {
				l.die("as it is fenced")
			}
		})
	}
	for _, a := range l.control.Accounts {
		l.observe(l.reign.observers[a.Name])
	}
}

// observe lists an account when that is asked for or due.
func (l *life) observe(o *observer) {
	name := o.account.Name
	if l.observing[name] {
		return
	}
	sweep := !l.now.Before(l.sweeps[name])
	select {
	case <-o.asked:
	default:
		if !sweep {
			return
		}
	}
	if sweep {
		l.sweeps[name] = l.now.Add(l.control.sweepEvery())
		l.after(l.control.sweepEvery(), func() {}) // time does not jump over it
	}
	l.observing[name] = true
	l.start(l, func() {
		if err := o.observe(l.ctx, sweep); err != nil && !l.dead {
			l.after(listEvery, o.again)
		}
		l.after(listEvery, func() { l.observing[name] = false })
	})
}

// Next implements topology.Source: views lag behind the store.
func (l *life) Next(_ context.Context, after store.Revision) (*topology.View, error) {
	newest := func() *topology.View { return l.views[len(l.views)-1] }
	l.await(func() bool { return l.dead || newest().Rev > after })
	if l.dead {
		return nil, context.Canceled
	}
	if behind := len(l.views) - 1 - l.shown; behind > 0 {
		l.shown += l.rnd.IntN(behind + 1)
	}
	for l.views[l.shown].Rev <= after {
		l.shown++
	}
	return l.views[l.shown], nil
}
