package controller_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/topology"
)

func TestJoin(t *testing.T) {
	f := &faultyCloud{kind: cloud.ByName}
	inBubble(t, f, func(b *bed) {
		b.set(1, 1, 1)
		b.reign(func() {
			for len(f.alive()) == 0 {
				<-time.After(100 * time.Millisecond)
			}
			<-time.After(time.Second)
			var inst *faultyInstance
			for _, inst = range f.instances {
			}
			ask := controller.Join{
				Cluster: clusterID, Member: topology.MemberID(inst.Tags[cloud.TagMember]), Token: string(inst.spec.UserData),
				PublicKey: inst.key.Public().(ed25519.PublicKey),
			}
			wrong := ask
			wrong.Token = "another"
			_, err := b.control.Join(b.ctx, wrong)
			require.ErrorIs(b.t, err, controller.ErrRefused)
			wrong = ask
			wrong.Instance = "i-999"
			_, err = b.control.Join(b.ctx, wrong)
			require.ErrorIs(b.t, err, controller.ErrRefused, "the token on another instance")
			wrong = ask
			wrong.Member = "nobody"
			_, err = b.control.Join(b.ctx, wrong)
			require.ErrorIs(b.t, err, controller.ErrGone)
			wrong = ask
			wrong.PublicKey = ask.PublicKey[:5]
			_, err = b.control.Join(b.ctx, wrong)
			require.ErrorIs(b.t, err, controller.ErrRefused)

			first, err := b.control.Join(b.ctx, ask)
			require.NoError(b.t, err)
			again, err := b.control.Join(b.ctx, ask)
			require.NoError(b.t, err, "a lost answer costs nothing")
			require.Equal(b.t, first.State, again.State)
			wrong = ask
			wrong.PublicKey, _, err = ed25519.GenerateKey(nil)
			require.NoError(b.t, err)
			_, err = b.control.Join(b.ctx, wrong)
			require.ErrorIs(b.t, err, controller.ErrRefused, "the token with another key")

			b.set(0, 1, 0)
			b.wait(time.Minute, func() bool { return b.settled(0) })
			_, err = b.control.Join(b.ctx, ask)
			require.ErrorIs(b.t, err, controller.ErrGone, "the token of a terminated member")
			require.True(b.t, errors.Is(b.control.Report(b.ctx, clusterID, ask.Member, controller.Report{Seq: 1 << 40}), controller.ErrGone))
		})
	})
}
