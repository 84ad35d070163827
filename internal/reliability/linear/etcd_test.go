package linear_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store/etcd"
)

// TestEtcdKilled kills one node of three after the other while clients work.
func TestEtcdKilled(t *testing.T) {
	c := etcdserver.Run(t, etcdserver.Options{Nodes: 3})
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: c.Endpoints()})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	seed := testSeed(t)
	random := rand.New(rand.NewPCG(seed, 99))
	killed := 0
	r, err := linear.Run(t.Context(), linear.Options{
		Store: func(int) linear.Store { return s },
		Nemesis: func(ctx context.Context) error {
			for ctx.Err() == nil {
				i := random.IntN(3)
				c.Kill(i)
				killed++
				if err := c.Restart(i); err != nil {
					return err
				}
			}
			return nil
		},
		Operations: 2000, Seed: seed, Dir: t.TempDir(),
	})
	require.NoError(t, err)
	require.True(t, r.Linearizable)
	require.Positive(t, killed)
	t.Logf("%+v, nodes killed %d times", r, killed)
}
