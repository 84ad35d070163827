package controller_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/topology"
)

func TestKillGuardWaitsForAnOperator(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		still := func(launched int) {
			b.t.Helper()
			for range 60 {
				b.pass(time.Second)
			}
			require.Equal(b.t, launched, f.launched())
			require.Len(b.t, b.control.Held(), 4)
		}
		b.set(60, 60, 60)
		b.reign(func() {
			b.wait(5*time.Minute, func() bool { return b.settled(60) })
			f.mute(10)
			b.wait(5*time.Minute, func() bool { return f.launched() == 66 && len(b.control.Held()) == 4 })
			still(66)
		})
		b.control = b.newController()
		b.reign(func() {
			still(66) // another leader counts on
			require.NoError(b.t, b.newController().AllowReplacements(b.ctx, time.Hour), "on another replica")
			b.wait(2*time.Minute, func() bool { return f.launched() == 70 && b.settled(60) })
			require.Empty(b.t, b.control.Held())
		})
	})
}

func TestKillGuardDoesNotCountScaleDownsAndEvidence(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(0, 40, 30)
		b.reign(func() {
			b.wait(5*time.Minute, func() bool { return b.settled(30) })
			b.set(0, 40, 20)
			b.wait(time.Minute, func() bool { return b.settled(20) })
			f.mu.Lock()
			n := 0
			for _, i := range f.instances {
				if i.ended.IsZero() && n < 12 {
					i.ended = time.Now()
					n++
				}
			}
			f.mu.Unlock()
			b.wait(5*time.Minute, func() bool { return b.settled(20) })
			require.Equal(b.t, 42, f.launched())
		})
	})
}

// orphan puts instances of nobody's into the cloud.
func (b *bed) orphan(n int, generation string) {
	b.t.Helper()
	id, err := b.store.ID(b.ctx)
	require.NoError(b.t, err)
	for i := range n {
		name := fmt.Sprintf("orphan-%s-%d", generation, i)
		_, err := b.cloud.Launch(b.ctx, cloud.Spec{Name: name, Tags: map[string]string{
			cloud.TagOwner: id.UUID, cloud.TagGen: generation, cloud.TagMember: name,
		}})
		require.NoError(b.t, err)
	}
}

func TestSweepAfterARestoredBackupWaitsForAnOperator(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 1, 1)
		b.orphan(8, "99")
		b.reign(func() {
			b.wait(time.Minute, func() bool { return len(b.members()[topology.Active]) == 1 })
			b.wait(20*time.Minute, func() bool { return len(b.control.Orphans()["here"]) == 8 })
			require.Len(b.t, f.alive(), 9, "they are only reported")
			require.NoError(b.t, b.newController().AllowSweep(b.ctx, time.Hour), "on another replica")
			b.wait(3*time.Minute, func() bool { return len(f.alive()) == 4 })
			b.wait(4*time.Minute, func() bool { return b.settled(1) }) // five in a pass
			b.wait(4*time.Minute, func() bool { return len(b.control.Orphans()) == 0 })
		})
	})
}

func TestSweepOfTooManyWaitsForAnOperator(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		id, err := b.store.ID(b.ctx)
		require.NoError(b.t, err)
		b.orphan(6, strconv.FormatInt(id.Generation, 10))
		b.reign(func() {
			b.wait(20*time.Minute, func() bool { return len(b.control.Orphans()["here"]) == 6 })
			require.Len(b.t, f.alive(), 6)
			require.NoError(b.t, b.control.AllowSweep(b.ctx, time.Hour))
			b.wait(10*time.Minute, func() bool { return len(f.alive()) == 0 })
		})
	})
}
