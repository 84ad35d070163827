package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// simWanted is the reason of every want.
const simWanted = "as the simulation wants"

// simulate runs one history: half an hour of faults, and then peace until
// everything is as it should be.
func simulate(t *testing.T, seed uint64, keep bool) *sim {
	cryptotest.SetGlobalRandom(t, seed)
	s := newSim(seed)
	s.keep = keep
	defer s.close()
	s.current = &task{yield: func(struct{}) bool { return true }}
	for i := range 1 + s.rnd.IntN(2) {
		id := topology.ClusterID(fmt.Sprintf("t.c%d", i))
		s.wants[id] = &simWant{}
		s.release(id)
		s.want(id)
	}
	s.lead()
	s.current = nil
	peace := simStart.Add(s.within(5*time.Minute, 20*time.Minute))
	s.trouble(peace)
	s.until(peace, func() bool { return false })
	s.faults, s.cloud.full = 0, false
	s.wake()
	s.logf("peace")
	s.until(peace.Add(8*time.Minute), func() bool { return false }) // until old leaders went on, and late messages came
	if !s.until(peace.Add(90*time.Minute), func() bool { return s.unsettled() == "" }) {
		s.fail("not settled after 90 minutes of peace: %s", s.unsettled())
	}
	stays := 2 * time.Minute
	if seed%8 == 0 {
		stays = 100 * time.Minute
	}
	s.until(s.now.Add(stays), func() bool { return false })
	if s.broken == "" && s.unsettled() != "" {
		s.fail("not settled any more: %s", s.unsettled())
	}
	if seed%8 == 0 {
		s.buried()
	}
	return s
}

// trouble lets something happen every now and then, until a time.
func (s *sim) trouble(until time.Time) {
	s.after(s.within(0, 2*time.Minute), func() {
		if !s.now.Before(until) {
			return
		}
		s.disturb()
		s.trouble(until)
	})
}

func (s *sim) disturb() {
	id := topology.ClusterID(fmt.Sprintf("t.c%d", s.rnd.IntN(len(s.wants))))
	switch s.rnd.IntN(9) {
	case 0, 1, 2:
		s.want(id)
	case 3:
		s.release(id)
	case 4:
		if s.faults > 0 {
			s.life.die("of a kill -9")
		}
	case 5:
		s.pause()
	case 6:
		s.kill()
	case 7:
		for _, i := range s.cloud.all {
			if s.fault(.5) {
				i.mute = s.now.Add(s.within(0, 8*time.Minute))
			}
		}
	case 8:
		if s.faults > 0 {
			s.cloud.full = !s.cloud.full
		}
	}
}

// want changes a cluster's size.
func (s *sim) want(id topology.ClusterID) {
	n := s.rnd.IntN(6)
	if s.exclusive(id) {
		n = min(n, 1)
	}
	s.size(id, n)
}

func (s *sim) size(id topology.ClusterID, n int) {
	w := s.wants[id]
	w.size = n
	w.history = append(w.history, simSize{s.now, w.size})
	s.logf("%s wants %d", id, w.size)
	s.record(topology.WantKey(id), topology.Want{Cluster: id, Size: w.size, Reason: simWanted})
}

// release changes a cluster's release.
func (s *sim) release(id topology.ClusterID) {
	r := topology.Release{Revision: strconv.Itoa(s.rnd.IntN(1 << 20))}
	s.record(topology.ClusterKey(id), topology.Cluster{ID: id, Max: 10, Current: &r, Exclusive: s.exclusive(id)})
}

// exclusive reports whether the members of a cluster have a volume that is for
// one at a time: in every second history, those of the second one.
func (s *sim) exclusive(id topology.ClusterID) bool { return s.seed%2 == 0 && id == "t.c1" }

func (s *sim) record(key string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.fail("%v", err)
	}
	s.put(store.Op{Key: key, Value: b})
}

// pause stops the leader in the middle of whatever it does; another leads, and
// the old one goes on later, with its old guard.
func (s *sim) pause() {
	if s.faults == 0 || s.life.dead || s.life.paused {
		return
	}
	l := s.life
	l.paused, s.paused = true, true
	s.logf("leader %d is paused", l.n)
	s.after(s.within(0, 20*time.Second), s.lead)
	s.after(s.within(30*time.Second, 6*time.Minute), func() {
		s.logf("leader %d goes on", l.n)
		l.paused = false
		s.after(time.Minute, func() { l.die("at the end of its lease") })
	})
}

// kill ends an instance behind everybody's back.
func (s *sim) kill() {
	for _, i := range s.cloud.all {
		if i.alive() && s.fault(.5) {
			s.cloud.end(i, "power cut")
			if s.chance(.5) {
				s.life.control.HungUp(i.cluster(), i.member())
				for _, id := range s.hungUp() {
					s.life.reign.queue.add(id)
				}
			}
			return
		}
	}
}

// hungUp is what listen would have been told.
func (s *sim) hungUp() []topology.ClusterID {
	if ctx := context.Background(); len(s.life.control.heard.waiter()) > 0 {
		ids, _ := s.life.control.heard.hangUps(ctx)
		return ids
	}
	return nil
}

// wake ends what keeps agents from being heard.
func (s *sim) wake() {
	for _, i := range s.cloud.all {
		i.mute = time.Time{}
	}
}

// buried: in the end nothing is left of terminated members.
func (s *sim) buried() {
	page, err := s.records.List(context.Background(), "", store.ReadOptions{})
	if err != nil {
		s.fail("%v", err)
	}
	alive := 0
	for _, w := range s.wants {
		alive += w.size
	}
	members, intents := 0, 0
	for _, kv := range page.KVs {
		switch {
		case strings.HasPrefix(kv.Key, topology.MemberPrefix):
			members++
		case strings.HasPrefix(kv.Key, intentPrefix):
			intents++
		}
	}
	if members != alive || intents > alive {
		s.fail("%d members want %d records: %d members, %d intents are left", alive, alive, members, intents)
	}
}

// TestSimulation runs histories, each with its own seed: STRATOS_SIM_SEEDS of
// them, from STRATOS_TEST_SEED on; with that alone, one. The first that breaks
// a promise is run again and shown.
func TestSimulation(t *testing.T) {
	first, n := uint64(1), simSeeds
	if v := os.Getenv("STRATOS_TEST_SEED"); v != "" {
		var err error
		first, err = strconv.ParseUint(v, 10, 64)
		require.NoError(t, err, "STRATOS_TEST_SEED")
		n = 1
	}
	if v := os.Getenv("STRATOS_SIM_SEEDS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err, "STRATOS_SIM_SEEDS")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	for seed := first; seed < first+uint64(n); seed++ {
		if simulate(t, seed, false).broken == "" {
			continue
		}
		s := simulate(t, seed, true)
		t.Fatalf("STRATOS_TEST_SEED=%d (%s, faults %.1f): %s\n%s", seed, s.cloud.kind, s.level, s.broken, strings.Join(s.lines, "\n"))
	}
}

func TestSimulationIsReproducible(t *testing.T) {
	for seed := range uint64(20) {
		require.Equal(t, simulate(t, seed, false).hash.Sum64(), simulate(t, seed, false).hash.Sum64(), "seed %d", seed)
	}
}
