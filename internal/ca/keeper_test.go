package ca_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/ca"
)

func TestKeeperRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, "p")
		key, err := ca.NewKey()
		require.NoError(t, err)
		var away atomic.Bool
		var asked atomic.Int64
		k := &ca.Keeper{Key: key, Renew: func(_ context.Context, csr []byte) ([]byte, error) {
			asked.Add(1)
			if away.Load() {
				return nil, errors.New("the control plane is away")
			}
			return a.Sign(csr, ca.Identity{Kind: ca.Member, Name: "m1"}, time.Now())
		}}
		_, err = k.GetCertificate(nil)
		require.ErrorContains(t, err, "no certificate yet")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()

		synctest.Wait()
		first := k.Leaf()
		require.NotNil(t, first, "none: it asks at once")
		<-time.After(ca.Life/2 - 2*time.Hour)
		synctest.Wait()
		require.Same(t, first, k.Leaf())
		<-time.After(2 * time.Hour)
		synctest.Wait()
		second := k.Leaf()
		require.NotSame(t, first, second, "renewed at half its life")
		require.EqualValues(t, 2, asked.Load())

		// The former one stays while there is no new one, and it goes on asking, not too often.
		away.Store(true)
		<-time.After(ca.Life/2 + 24*time.Hour)
		synctest.Wait()
		require.Same(t, second, k.Leaf())
		require.Greater(t, asked.Load(), int64(24*6), "asks every ten minutes")
		require.Less(t, asked.Load(), int64(24*20))
		away.Store(false)
		<-time.After(11 * time.Minute)
		synctest.Wait()
		require.NotSame(t, second, k.Leaf())
		c, err := k.GetClientCertificate(nil)
		require.NoError(t, err)
		require.Same(t, k.Leaf(), c.Leaf)

		stop()
		require.NoError(t, <-ended)
	})
}

func TestKeeperSetRefuses(t *testing.T) {
	a, err := ca.New("p", time.Now().Add(-60*24*time.Hour))
	require.NoError(t, err)
	key, err := ca.NewKey()
	require.NoError(t, err)
	k := &ca.Keeper{Key: key}
	csr, err := ca.Request(key)
	require.NoError(t, err)
	id := ca.Identity{Kind: ca.Member, Name: "m1"}

	old, err := a.Sign(csr, id, time.Now().Add(-ca.Life-time.Minute))
	require.NoError(t, err)
	require.ErrorContains(t, k.Set(old), "has expired")
	other, err := ca.NewKey()
	require.NoError(t, err)
	csr, err = ca.Request(other)
	require.NoError(t, err)
	another, err := a.Sign(csr, id, time.Now())
	require.NoError(t, err)
	require.ErrorContains(t, k.Set(another), "for another key")
	require.ErrorContains(t, k.Set([]byte("x")), "no certificate")
	require.Nil(t, k.Leaf())
}
