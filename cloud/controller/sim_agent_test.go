package controller

import (
	"bytes"
	"errors"
	"time"

	"github.com/gostratos/stratos/topology"
)

// agent is what the agent of an instance does next: it joins, or reports.
// Messages get lost, come twice, or late.
func (s *sim) agent(i *simInstance) {
	if !i.alive() || i.quit {
		return
	}
	again := func(d time.Duration) { s.after(d, func() { s.agent(i) }) }
	l := s.life
	switch {
	case l == nil || l.dead || l.paused || s.now.Before(i.mute):
		again(5 * time.Second)
	case !i.joined:
		again(s.within(time.Second, 5*time.Second))
		s.join(l, i)
	default:
		again(s.within(50*time.Second, 60*time.Second))
		s.report(l, i)
	}
}

// send delivers a message: perhaps late, twice, or never.
func (s *sim) send(l *life, deliver func(lost bool)) {
	if s.fault(.1) {
		return
	}
	lost := s.fault(.2)
	message := func() {
		if !l.dead {
			s.start(l, func() { deliver(lost) })
		}
	}
	message()
	if s.fault(.1) {
		s.after(s.within(0, 30*time.Second), message)
	}
}

func (s *sim) join(l *life, i *simInstance) {
	s.send(l, func(lost bool) {
		_, err := l.control.Join(agentSpeaks(), Join{
			Cluster: i.cluster(), Member: i.member(), Token: string(i.spec.UserData),
			PublicKey: i.key, Instance: topology.InstanceID(i.ID),
		})
		switch {
		case errors.Is(err, ErrRefused), errors.Is(err, ErrGone):
			i.quit = i.quit || !i.joined
		case err == nil:
			s.checkJoin(i)
			if !lost {
				i.joined = true
			}
		}
	})
}

func (s *sim) report(l *life, i *simInstance) {
	m, ok := s.member(i.cluster(), i.member())
	if !ok || !bytes.Equal(m.PublicKey, i.key) {
		return // the API knows nobody with this key
	}
	i.seq++
	r := Report{Seq: i.seq, Ready: !s.fault(.05), Reason: "busy"}
	if m.Assigned != nil {
		r.Serving = &topology.Runtime{Release: *m.Assigned, Ports: map[string]int{"http": 20000}}
	}
	s.send(l, func(bool) {
		if err := l.control.Report(agentSpeaks(), i.cluster(), i.member(), r); errors.Is(err, ErrGone) {
			i.quit = true
		}
	})
}
