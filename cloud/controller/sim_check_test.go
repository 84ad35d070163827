package controller

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// checks is what the checks of promises remember.
type checks struct {
	sent     map[string]bool // attempts whose intent was ever marked as sent, by token
	tokens   map[string]string
	admitted map[topology.MemberID]*simInstance
	over     map[topology.MemberID]bool // members of which a second instance may be there: a leader was paused
}

func newChecks() checks {
	return checks{
		sent: map[string]bool{}, tokens: map[string]string{},
		admitted: map[topology.MemberID]*simInstance{}, over: map[topology.MemberID]bool{},
	}
}

// simWant is what a cluster should have, and had to have of late.
type simWant struct {
	size    int
	history []simSize
}

type simSize struct {
	at   time.Time
	size int
}

// lowest is the smallest size that was wanted within the last minutes: views lag.
func (w *simWant) lowest(now time.Time) int {
	least := w.size
	for i, h := range w.history {
		if i+1 < len(w.history) && now.Sub(w.history[i+1].at) > 2*time.Minute {
			continue
		}
		least = min(least, h.size)
	}
	return least
}

// checkWrite looks at every transaction that was applied.
func (s *sim) checkWrite(by *life, t store.Txn, before map[string]store.KV, v *topology.View) {
	leads := by != nil && slices.ContainsFunc(t.If, func(c store.Cond) bool { return strings.HasPrefix(c.Key, store.LeaderPrefix) })
	for _, op := range t.Then {
		switch {
		case strings.HasPrefix(op.Key, topology.MemberPrefix):
			s.checkMember(by, leads, op, before[op.Key], v)
		case strings.HasPrefix(op.Key, intentPrefix):
			s.checkIntent(by, op)
		}
	}
}

func (s *sim) checkIntent(by *life, op store.Op) {
	if by != nil && by != s.life {
		s.fail("leader %d, replaced, wrote %s", by.n, op.Key)
	}
	if op.Delete {
		return
	}
	var in intent
	if err := json.Unmarshal(op.Value, &in); err != nil {
		s.fail("%s: %v", op.Key, err)
		return
	}
	attempt := op.Key + "/" + in.Spec.Tags[cloud.TagAttempt] + "." + in.Spec.Tags[cloud.TagGen]
	if was, ok := s.check.tokens[attempt]; ok && was != in.Spec.Token {
		s.fail("two tokens for %s", attempt)
	}
	s.check.tokens[attempt] = in.Spec.Token
	if !in.SentAt.IsZero() {
		s.check.sent[in.Spec.Token] = true
	}
}

func (s *sim) checkMember(by *life, leads bool, op store.Op, before store.KV, v *topology.View) {
	var was, is topology.Member
	if before.Value != nil {
		if err := json.Unmarshal(before.Value, &was); err != nil {
			s.fail("%s: %v", op.Key, err)
		}
	}
	if op.Delete {
		age := s.now.Sub(was.Since)
		if was.State != topology.Terminated || age < time.Hour {
			s.fail("%s was deleted as %s, %v old", op.Key, was.State, age)
		}
		return
	}
	if err := json.Unmarshal(op.Value, &is); err != nil {
		s.fail("%s: %v", op.Key, err)
	}
	if by != s.life && (leads || was.State == "" || is.State != was.State && ending(is.State)) {
		s.fail("leader %d, replaced, wrote %s as %s", by.n, op.Key, is.State)
	}
	if is.State == was.State {
		s.checkKept(was, is)
		return
	}
	s.logf("%s of %s: %s -> %s (%s)", is.ID, is.Cluster, was.State, is.State, is.Reason)
	if _, err := was.To(is.State, "", s.now, s.now); err != nil && !(was.State == topology.Created && is.State == topology.Starting) {
		s.fail("%v", err)
	}
	s.checkKept(was, is)
	s.checkSupply(was, is, v.Cluster(is.Cluster))
}

func ending(st topology.State) bool {
	return st == topology.InMaintenance || st == topology.Terminating || st == topology.Terminated
}

// checkKept: what a member is bound to, it stays bound to.
func (s *sim) checkKept(was, is topology.Member) {
	if was.PublicKey != nil && !bytes.Equal(was.PublicKey, is.PublicKey) {
		s.fail("member %s was bound to another key", is.ID)
	}
	if was.Instance != "" && was.Instance != is.Instance {
		s.fail("member %s was %s and is now %s", is.ID, was.Instance, is.Instance)
	}
}

// checkSupply counts for itself what serves or soon will.
func (s *sim) checkSupply(was, is topology.Member, c *topology.ClusterView) {
	serves := func(st topology.State) bool {
		return slices.Contains([]topology.State{topology.Created, topology.Initialized, topology.Starting, topology.Active, topology.Suspended}, st)
	}
	supply := 0
	for _, m := range c.Members() {
		if is.State == topology.Created && m.ID != is.ID && m.State != topology.Terminated && s.exclusive(is.Cluster) {
			s.fail("launched in %s beside %s, which is %s", is.Cluster, m.ID, m.State)
		}
		if serves(m.State) {
			supply++
		}
	}
	w := s.wants[is.Cluster]
	if is.State == topology.Created && supply > w.size {
		s.fail("launched in %s with %d wanted: now %d", is.Cluster, w.size, supply)
	}
	if is.State == topology.InMaintenance && is.Reason == simWanted && supply < w.lowest(s.now) {
		s.fail("%s drained to %d with %d wanted", is.Cluster, supply, w.lowest(s.now))
	}
}

// checkLaunch looks at every instance that comes to be.
func (s *sim) checkLaunch(i *simInstance) {
	if !s.check.sent[i.spec.Token] {
		s.fail("%s was launched for %s without a durable intent", i.ID, i.member())
	}
	if s.cloud.kind == cloud.ByTags || s.paused {
		return
	}
	for _, o := range s.cloud.all {
		if o != i && o.member() == i.member() && o.alive() {
			s.fail("member %s has two instances: %s and %s", i.member(), o.ID, i.ID)
		}
	}
}

// checkJoin looks at every agent that is admitted.
func (s *sim) checkJoin(i *simInstance) {
	if was := s.check.admitted[i.member()]; was != nil && was != i {
		s.fail("member %s has two admitted instances: %s and %s", i.member(), was.ID, i.ID)
	}
	s.check.admitted[i.member()] = i
}

// checkEnd looks at every instance that a leader ends.
func (s *sim) checkEnd(i *simInstance) {
	m, ok := s.member(i.cluster(), i.member())
	if !ok || m.Instance != topology.InstanceID(i.ID) && (m.Instance != "" || s.check.admitted[i.member()] != i) {
		if ok && m.Instance == "" && m.State == topology.Created {
			s.fail("%s was ended, and member %s may want it", i.ID, m.ID)
		}
		return
	}
	if m.State != topology.Terminating && m.State != topology.Terminated {
		s.fail("%s, of %s, was ended, and its member is %s", i.ID, m.ID, m.State)
	}
}

// settled says what is not yet as it should be in the end.
func (s *sim) unsettled() string {
	v := s.views[len(s.views)-1]
	owned := map[cloud.InstanceID]bool{}
	for c := range v.Clusters() {
		n := 0
		for _, m := range c.Members() {
			switch m.State {
			case topology.Active:
				n++
				owned[cloud.InstanceID(m.Instance)] = true
			case topology.Terminated:
			default:
				return string(m.ID) + " is " + string(m.State)
			}
		}
		if w := s.wants[c.Cluster.ID]; w != nil && n != w.size {
			return "wrong number of members in " + string(c.Cluster.ID)
		}
	}
	for _, i := range s.cloud.all {
		if i.alive() && !owned[i.ID] {
			return "leaked: " + string(i.ID) + " of " + string(i.member())
		}
		delete(owned, i.ID)
		if !i.alive() {
			if m, ok := s.member(i.cluster(), i.member()); ok && m.State == topology.Active && m.Instance == topology.InstanceID(i.ID) {
				return "dead: " + string(i.ID)
			}
		}
	}
	return ""
}
