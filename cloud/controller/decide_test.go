package controller

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

var (
	t0 = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	r1 = topology.Release{Revision: "r1", Archive: "a1", Plan: "p1"}
	r2 = topology.Release{Revision: "r2", Archive: "a2", Plan: "p2"}
)

// scene builds a situation.
type scene struct {
	cluster topology.Cluster
	want    *topology.Want
	members []topology.Member
	silent  time.Duration // since when nobody was heard of
	lost    bool
	seen    sighting
	idle    bool
	blind   bool
	guarded bool // the kill guard lets nobody go
}

func cluster(change ...func(*topology.Cluster)) topology.Cluster {
	c := topology.Cluster{ID: "t.a", Min: 1, Max: 10, Current: &r1}
	for _, f := range change {
		f(&c)
	}
	return c
}

// member is the i-th member, created i seconds after t0, serving r1 if it is Active.
func member(i int, s topology.State, change ...func(*topology.Member)) topology.Member {
	m := topology.Member{
		ID: topology.MemberID(fmt.Sprintf("m%d", i)), Cluster: "t.a", State: s, Created: t0.Add(time.Duration(i) * time.Second),
		Since: t0, Account: "here", Assigned: &r1, Instance: topology.InstanceID(fmt.Sprintf("i%d", i)), Address: "127.0.0.1",
	}
	if s == topology.Active || s == topology.InMaintenance || s == topology.Suspended {
		m.Serving = &topology.Runtime{Release: r1, Ports: map[string]int{"http": 20000 + i}}
	}
	for _, f := range change {
		f(&m)
	}
	return m
}

func active(n int) (all []topology.Member) {
	for i := range n {
		all = append(all, member(i, topology.Active))
	}
	return all
}

func want(n int) *topology.Want { return &topology.Want{Cluster: "t.a", Size: n, Reason: "wanted"} }

func (s scene) at(now time.Time) situation {
	events := []store.Event{event(topology.ClusterKey("t.a"), s.cluster)}
	if s.want != nil {
		events = append(events, event(topology.WantKey("t.a"), s.want))
	}
	for _, m := range s.members {
		events = append(events, event(topology.MemberKey("t.a", m.ID), m))
	}
	v, err := (&topology.View{}).With(1, events)
	if err != nil {
		panic(err)
	}
	return situation{
		now: now, cluster: v.Cluster("t.a"), started: t0,
		heard: func(topology.MemberID) contact { return contact{at: now.Add(-s.silent), lost: s.lost} },
		seen:  func(topology.MemberRecord) sighting { return s.seen },
		idle:  func(topology.MemberID, topology.Runtime) bool { return s.idle },
		blind: func() bool { return s.blind },
		lose:  func(topology.MemberID) bool { return !s.guarded },
		timing: timing{
			heartbeat: 15 * time.Second, boot: time.Minute, grace: time.Minute, drain: time.Minute,
			tombstone: func(string) time.Duration { return time.Hour },
		},
	}
}

func event(key string, v any) store.Event {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return store.Event{KV: store.KV{Key: key, Value: b, Mod: 1}}
}

// summary writes a plan's effects in one line each.
func summary(p plan) []string {
	all := []string{}
	for _, m := range p.writes {
		line := fmt.Sprintf("%s %s", m.ID, m.State)
		if m.Assigned != nil && *m.Assigned != r1 {
			line += " <- " + m.Assigned.Revision
		}
		if m.Failed {
			line += " failed"
		}
		all = append(all, line)
	}
	for _, r := range p.launches {
		all = append(all, "launch "+r.Revision)
	}
	for _, m := range p.sends {
		all = append(all, "send "+string(m.ID))
	}
	for _, m := range p.ends {
		all = append(all, "end "+string(m.ID))
	}
	for _, m := range p.deletes {
		all = append(all, "delete "+string(m.ID))
	}
	for a := range p.observe {
		all = append(all, "observe "+a)
	}
	slices.Sort(all)
	return all
}

func TestDecideSize(t *testing.T) {
	removed := func(c *topology.Cluster) { c.Removed = true }
	bounds := func(lo, hi int) func(*topology.Cluster) {
		return func(c *topology.Cluster) { c.Min, c.Max = lo, hi }
	}
	candidate := func(c *topology.Cluster) { c.Candidate = &r2 }
	first := func(c *topology.Cluster) { c.Current, c.Candidate = nil, &r2 }
	nothing := func(c *topology.Cluster) { c.Current = nil }
	exclusive := func(c *topology.Cluster) { c.Exclusive = true }
	failedAt := func(d time.Duration) func(*topology.Member) {
		return func(m *topology.Member) { m.Failed, m.Since, m.Deadline = true, t0.Add(d), t0.Add(time.Hour) }
	}
	for _, c := range []struct {
		name  string
		scene scene
		want  []string
	}{
		{"no want yet: the minimum", scene{cluster: cluster(bounds(2, 4))}, []string{"launch r1", "launch r1"}},
		{"no want yet, and it may sleep: one", scene{cluster: cluster(bounds(0, 4))}, []string{"launch r1"}},
		{"want", scene{cluster: cluster(), want: want(3), members: active(1)}, []string{"launch r1", "launch r1"}},
		{"want above the maximum", scene{cluster: cluster(bounds(1, 2)), want: want(9), members: active(1)}, []string{"launch r1"}},
		{"want below the minimum", scene{cluster: cluster(bounds(2, 4)), want: want(0), members: active(1)}, []string{"launch r1"}},
		{"pending members are supply", scene{cluster: cluster(), want: want(4), members: []topology.Member{
			member(0, topology.Active), member(1, topology.Created), member(2, topology.Initialized), member(3, topology.Starting),
		}}, []string{"send m1"}},
		{"draining members are no supply", scene{cluster: cluster(), want: want(2), members: []topology.Member{
			member(0, topology.Active), member(1, topology.ReadyToShutDown),
		}}, []string{"launch r1", "m1 Terminating"}},
		{"a drain is taken back rather than a member launched", scene{cluster: cluster(), want: want(2), members: []topology.Member{
			member(0, topology.Active), member(1, topology.InMaintenance),
		}}, []string{"m1 Active"}},
		{"surplus: the youngest that serves drains", scene{cluster: cluster(), want: want(2), members: active(3)}, []string{"m2 InMaintenance"}},
		{"surplus: first those that do not serve", scene{cluster: cluster(), want: want(1), members: []topology.Member{
			member(0, topology.Active), member(1, topology.Starting), member(2, topology.Created),
		}}, []string{"m1 Terminating", "m2 Terminating"}},
		{"a smaller maximum drains the surplus", scene{cluster: cluster(bounds(1, 2)), want: want(4), members: active(4)}, []string{"m2 InMaintenance", "m3 InMaintenance"}},
		{"unsubscribed", scene{cluster: cluster(removed), want: want(2), members: active(2)}, []string{"m0 InMaintenance", "m1 InMaintenance"}},
		{"no release: nobody", scene{cluster: cluster(nothing), want: want(3)}, []string{}},
		{"the first release is tried on one member", scene{cluster: cluster(first, bounds(3, 5)), want: want(5)}, []string{"launch r2"}},
		{"zero", scene{cluster: cluster(bounds(0, 4)), want: want(0)}, []string{}},
		{"zero, and a candidate: a member of its own", scene{cluster: cluster(bounds(0, 4), candidate), want: want(0)}, []string{"launch r2"}},
		{"load never launches the candidate", scene{cluster: cluster(candidate), want: want(3), members: append(active(1), member(1, topology.Starting, func(m *topology.Member) { m.Assigned = &r2 }))}, []string{"launch r1"}},
		{"after a failure: back-off", scene{cluster: cluster(), members: []topology.Member{member(0, topology.Terminated, failedAt(9500*time.Millisecond))}}, []string{}},
		{"after the back-off", scene{cluster: cluster(), members: []topology.Member{member(0, topology.Terminated, failedAt(8*time.Second))}}, []string{"launch r1"}},
		{"back-off doubles", scene{cluster: cluster(), members: []topology.Member{
			member(0, topology.Terminated, failedAt(1*time.Second)), member(1, topology.Terminated, failedAt(2*time.Second)),
			member(2, topology.Terminated, failedAt(3*time.Second)), member(3, topology.Terminated, failedAt(4*time.Second)),
		}}, []string{}},
		{"a volume for one at a time: the next waits for the end of the former", scene{cluster: cluster(exclusive), want: want(1), members: []topology.Member{
			member(0, topology.Terminating),
		}}, []string{"end m0", "observe here"}},
		{"the former is gone", scene{cluster: cluster(exclusive), want: want(1), members: []topology.Member{
			member(0, topology.Terminated, func(m *topology.Member) { m.Deadline = t0.Add(time.Hour) }),
		}}, []string{"launch r1"}},
		{"failures of another release do not count", scene{cluster: cluster(), members: []topology.Member{
			member(0, topology.Terminated, failedAt(9500*time.Millisecond), func(m *topology.Member) { m.Assigned = &r2 }),
		}}, []string{"launch r1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, summary(decide(c.scene.at(t0.Add(10*time.Second)))))
		})
	}
}

func TestDecideRollOut(t *testing.T) {
	candidate := func(c *topology.Cluster) { c.Candidate = &r2 }
	current := func(c *topology.Cluster) { c.Current = &r2 }
	tries := func(m *topology.Member) { m.Assigned = &r2 }
	serves := func(m *topology.Member) { m.Assigned = &r2; m.Serving.Release = r2 }
	refuses := func(m *topology.Member) { m.Refused = &topology.Refusal{Release: r2, Reason: "crashed"} }
	back := func(m *topology.Member) {
		m.Ready, m.Serving, m.Since = true, &topology.Runtime{Release: r1}, t0.Add(9*time.Second)
	}
	for _, c := range []struct {
		name  string
		scene scene
		want  []string
	}{
		{"the candidate is tried on the oldest", scene{cluster: cluster(candidate), want: want(3), members: active(3)}, []string{"m0 Active <- r2"}},
		{"one trial at a time", scene{cluster: cluster(candidate), want: want(2), members: []topology.Member{
			member(0, topology.Active, tries), member(1, topology.Active),
		}}, []string{}},
		{"refused: the member goes back", scene{cluster: cluster(), want: want(1), members: []topology.Member{
			member(0, topology.Active, tries, refuses),
		}}, []string{"m0 Active"}},
		{"back at the current release after a refusal", scene{cluster: cluster(), want: want(1), members: []topology.Member{
			member(0, topology.Starting, tries, refuses, back),
		}}, []string{"m0 Starting"}},
		{"promoted: the others follow, a quarter at a time", scene{cluster: cluster(current), want: want(9), members: append([]topology.Member{
			member(0, topology.Active, serves),
		}, active(9)[1:]...)}, []string{"m1 Active <- r2", "m2 Active <- r2"}},
		{"promoted: not more than a quarter", scene{cluster: cluster(current), want: want(4), members: []topology.Member{
			member(0, topology.Active, serves), member(1, topology.Active, tries), member(2, topology.Active), member(3, topology.Active),
		}}, []string{}},
		{"one that cannot bring up what others serve is replaced", scene{cluster: cluster(current), want: want(2), members: []topology.Member{
			member(0, topology.Active, serves), member(1, topology.Active, tries, refuses),
		}}, []string{"m1 InMaintenance <- r2 failed"}},
		{"a new member that cannot bring up the current release ends", scene{cluster: cluster(current), want: want(2), members: []topology.Member{
			member(0, topology.Active, serves), member(1, topology.Starting, tries, refuses, func(m *topology.Member) { m.Since = t0.Add(9 * time.Second) }),
		}}, []string{"m1 Terminating <- r2 failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, summary(decide(c.scene.at(t0.Add(10*time.Second)))))
		})
	}
}

func TestDecideLife(t *testing.T) {
	expired := func(m *topology.Member) { m.Deadline = t0.Add(time.Second) }
	noAddress := func(m *topology.Member) { m.Address = "" }
	serves := func(m *topology.Member) {
		m.Serving, m.Ready = &topology.Runtime{Release: r1, Ports: map[string]int{"http": 1}}, true
	}
	sick := func(m *topology.Member) { m.Ready = false }
	retiring := func(m *topology.Member) {
		m.Retiring = []topology.Runtime{{Release: r2, Ports: map[string]int{"http": 2}, Deadline: t0.Add(time.Minute)}}
	}
	one := cluster()
	for _, c := range []struct {
		name  string
		scene scene
		want  []string
	}{
		{"Created is sent", scene{cluster: one, members: []topology.Member{member(0, topology.Created)}}, []string{"send m0"}},
		{"Created for too long", scene{cluster: one, members: []topology.Member{member(0, topology.Created, expired)}}, []string{"m0 Terminating failed"}},
		{"Initialized for too long", scene{cluster: one, members: []topology.Member{member(0, topology.Initialized, expired)}}, []string{"m0 Terminating failed"}},
		{"Starting for too long", scene{cluster: one, members: []topology.Member{member(0, topology.Starting, expired)}}, []string{"m0 Terminating failed"}},
		{"Starting and healthy, and its address came later", scene{cluster: one, members: []topology.Member{member(0, topology.Starting, serves)}}, []string{"m0 Active"}},
		{"Starting and not healthy", scene{cluster: one, members: []topology.Member{member(0, topology.Starting, serves, sick)}}, []string{}},
		{"no address: the cloud is asked", scene{cluster: one, members: []topology.Member{member(0, topology.Initialized, noAddress)}}, []string{"observe here"}},
		{"its address is known now", scene{cluster: one, seen: sighting{address: "10.0.0.1"}, members: []topology.Member{member(0, topology.Initialized, noAddress)}}, []string{"m0 Initialized"}},
		{"its agent hung up", scene{cluster: one, lost: true, members: active(1)}, []string{"observe here"}},
		{"missing in the cloud's list", scene{cluster: one, seen: sighting{missing: true}, members: active(1)}, []string{"observe here"}},
		{"gone: replaced at once", scene{cluster: one, seen: sighting{missing: true, gone: true}, members: active(1)}, []string{"launch r1", "m0 Terminating"}},
		{"draining with requests", scene{cluster: one, want: want(1), members: []topology.Member{member(0, topology.Active), member(1, topology.InMaintenance)}}, []string{}},
		{"drained", scene{cluster: one, idle: true, want: want(1), members: []topology.Member{member(0, topology.Active), member(1, topology.InMaintenance)}}, []string{"m1 ReadyToShutDown"}},
		{"drain deadline", scene{cluster: one, want: want(1), members: []topology.Member{member(0, topology.Active), member(1, topology.InMaintenance, expired)}}, []string{"m1 ReadyToShutDown"}},
		{"a retired runtime with requests stays", scene{cluster: one, members: []topology.Member{member(0, topology.Active, retiring)}}, []string{}},
		{"a retired runtime without requests goes", scene{cluster: one, idle: true, members: []topology.Member{member(0, topology.Active, retiring)}}, []string{"m0 Active"}},
		{"Terminating is ended until it is gone", scene{cluster: one, want: want(0), members: append(active(1), member(1, topology.Terminating))}, []string{"end m1", "observe here"}},
		{"Terminating and gone", scene{cluster: one, seen: sighting{gone: true}, members: []topology.Member{member(1, topology.Terminating)}}, []string{"launch r1", "m1 Terminated"}},
		{"a tombstone stays", scene{cluster: one, members: append(active(1), member(1, topology.Terminated))}, []string{}},
		{"a tombstone's time has come", scene{cluster: one, members: append(active(1), member(1, topology.Terminated, expired))}, []string{"delete m1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, summary(decide(c.scene.at(t0.Add(10*time.Second)))))
		})
	}
}

func TestSilenceSuspendsAndTheGraceEnds(t *testing.T) {
	s := scene{cluster: cluster(), silent: time.Hour, members: active(2), want: want(2)}
	require.Equal(t, []string{"observe here"}, summary(decide(s.at(t0.Add(44*time.Second)))), "silence before this controller listened is no evidence")
	p := decide(s.at(t0.Add(45 * time.Second)))
	require.Equal(t, []string{"m0 Suspended", "m1 Suspended", "observe here"}, summary(p))
	suspended := p.writes[0].Member
	require.Equal(t, t0.Add(105*time.Second), suspended.Deadline)

	s.members = []topology.Member{suspended, member(1, topology.Active)}
	s.silent = 0
	require.Equal(t, []string{"observe here"}, summary(decide(s.at(t0.Add(104*time.Second)))), "within its grace it is supply")
	require.Equal(t, []string{"launch r1", "m0 Terminating"}, summary(decide(s.at(t0.Add(106*time.Second)))))
}

func TestSilenceProvesNothingToABlindSensor(t *testing.T) {
	s := scene{cluster: cluster(), silent: time.Hour, blind: true, want: want(2), members: []topology.Member{
		member(0, topology.Active), member(1, topology.Suspended, func(m *topology.Member) { m.Deadline = t0.Add(time.Minute) }),
	}}
	require.Equal(t, []string{"observe here"}, summary(decide(s.at(t0.Add(time.Hour)))), "nothing is replaced")
	s.seen = sighting{missing: true, gone: true}
	require.Equal(t, []string{"launch r1", "launch r1", "m0 Terminating", "m1 Terminating"}, summary(decide(s.at(t0.Add(time.Hour)))), "what the cloud says is evidence")
}

func TestAMemberMovesOnceInALook(t *testing.T) {
	serves := func(m *topology.Member) {
		m.Serving, m.Ready = &topology.Runtime{Release: r1, Ports: map[string]int{"http": 1}}, true
	}
	late := func(m *topology.Member) { m.Deadline = t0.Add(time.Second) }
	s := scene{cluster: cluster(func(c *topology.Cluster) { c.Min = 0 }), want: want(0), members: []topology.Member{member(0, topology.Starting, serves)}}
	require.Equal(t, []string{"m0 Active"}, summary(decide(s.at(t0.Add(time.Second)))), "it drains next time")
	s = scene{cluster: cluster(), silent: time.Hour, members: []topology.Member{member(0, topology.Starting, late)}}
	require.Equal(t, []string{"m0 Suspended", "observe here"}, summary(decide(s.at(t0.Add(time.Hour)))), "its grace has just begun")
}

func TestKillGuardHoldsASilentMember(t *testing.T) {
	s := scene{cluster: cluster(), silent: time.Hour, guarded: true, want: want(1), members: []topology.Member{
		member(0, topology.Suspended, func(m *topology.Member) { m.Deadline = t0.Add(time.Minute) }),
	}}
	p := decide(s.at(t0.Add(time.Hour)))
	require.Equal(t, []string{"observe here"}, summary(p))
	require.Equal(t, []topology.MemberID{"m0"}, p.held)
	s.seen = sighting{missing: true, gone: true}
	p = decide(s.at(t0.Add(time.Hour)))
	require.Equal(t, []string{"launch r1", "m0 Terminating"}, summary(p), "evidence does not count")
	require.Empty(t, p.held)
}

func TestCreatesInFlightAreBounded(t *testing.T) {
	for _, c := range []struct {
		name            string
		want, asked, at int
	}{
		{"a small cluster", 6, 0, 5},
		{"the rest later", 6, 5, 0},
		{"a fifth", 100, 0, 20},
		{"a fifth, some are asked for", 100, 15, 5},
		{"more than that are asked for", 100, 40, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scene{cluster: cluster(func(c *topology.Cluster) { c.Max = 1000 }), want: want(c.want)}
			for i := range c.asked {
				s.members = append(s.members, member(i, topology.Created))
			}
			require.Len(t, decide(s.at(t0)).launches, c.at)
		})
	}
}

func TestBlind(t *testing.T) {
	for _, c := range []struct {
		name          string
		silent, total int
		want          bool
	}{
		{"one of three", 1, 3, false},
		{"all of a small platform", 4, 4, false},
		{"five of five", 5, 5, true},
		{"five of sixteen", 5, 16, true},
		{"five of seventeen", 5, 17, false},
		{"half of forty", 20, 40, true},
		{"30 % exactly", 30, 100, false},
		{"nobody", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, blind(c.silent, c.total)) })
	}
}

func TestBootTimeoutRefusesTheCandidate(t *testing.T) {
	c := cluster(func(c *topology.Cluster) { c.Current, c.Candidate = nil, &r2 })
	m := member(0, topology.Starting, func(m *topology.Member) {
		m.Assigned, m.Deadline, m.Reason = &r2, t0.Add(time.Second), "no answer on port 1"
	})
	p := decide(scene{cluster: c, members: []topology.Member{m}}.at(t0.Add(2 * time.Second)))
	require.Len(t, p.writes, 1)
	require.Equal(t, r2, p.writes[0].Refused.Release)
	require.Contains(t, p.writes[0].Refused.Reason, "no answer on port 1")
}

func TestDecideLooksAgainInTime(t *testing.T) {
	s := scene{cluster: cluster(), members: []topology.Member{member(0, topology.Initialized, func(m *topology.Member) { m.Deadline = t0.Add(time.Minute) })}}
	require.Equal(t, t0.Add(time.Minute), decide(s.at(t0)).lookAgain)
}
