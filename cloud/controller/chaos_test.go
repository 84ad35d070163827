package controller_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
)

// TestNothingLeakedNothingDoubled stops the controller at random moments, with
// a cloud that loses answers, while the want moves: in the end every member has
// its one instance, and no other runs.
func TestNothingLeakedNothingDoubled(t *testing.T) {
	for _, kind := range []cloud.Idempotency{cloud.ByName, cloud.ByToken, cloud.ByTags} {
		t.Run(string(kind), func(t *testing.T) {
			for n := range 3 {
				seed := uint64(time.Now().UnixNano()) + uint64(n)
				if s := os.Getenv("STRATOS_TEST_SEED"); s != "" {
					var err error
					seed, err = strconv.ParseUint(s, 10, 64)
					require.NoError(t, err)
				}
				if !t.Run(fmt.Sprint("STRATOS_TEST_SEED=", seed), func(t *testing.T) { chaos(t, kind, seed) }) {
					return
				}
			}
		})
	}
}

func chaos(t *testing.T, kind cloud.Idempotency, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := &faultyCloud{kind: kind, faults: .3, rnd: rnd}
	if kind != cloud.ByName {
		f.lag = 20 * time.Second
	}
	inBubble(t, f, func(b *bed) {
		final := 0
		for range 12 {
			f.mu.Lock()
			final = 1 + rnd.IntN(5)
			steps := 1 + rnd.IntN(40)
			f.mu.Unlock()
			b.set(1, 10, final)
			b.reign(func() {
				for range steps {
					f.mu.Lock()
					d := time.Duration(rnd.IntN(800)) * time.Millisecond
					f.mu.Unlock()
					b.pass(d)
				}
			})
			b.control = b.newController()
			for m, ids := range f.alive() {
				if kind != cloud.ByTags { // without tokens a transient stray is possible, never an admitted one
					require.Len(t, ids, 1, "member %s has two instances", m)
				}
			}
		}
		f.mu.Lock()
		f.faults = 0
		f.mu.Unlock()
		b.reign(func() { b.wait(40*time.Minute, func() bool { return b.settled(final) }) })
	})
}
