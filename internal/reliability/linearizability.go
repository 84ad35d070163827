package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/store/mem"
)

// linearizability is row 3.
func linearizability(ctx context.Context, b *bench, f *figures) error {
	dir, err := b.folder("linear")
	if err != nil {
		return err
	}
	s := mem.New()
	defer s.Close()
	r, err := linear.Run(ctx, linear.Options{
		Store: func(int) linear.Store { return s }, Operations: b.of(10_000, 50_000), Seed: b.seed, Dir: os.TempDir(),
	})
	if err != nil {
		return err
	}
	f.add(r.Linearizable, "mem: %d operations ok", r.Operations)
	for _, measure := range []func(context.Context, string, *figures) error{b.boltReopened, b.boltKilled} {
		if err := measure(ctx, dir, f); err != nil {
			return err
		}
	}
	for _, nodes := range []int{1, 3} {
		if err := b.etcdDisturbed(ctx, nodes, f); err != nil {
			return err
		}
	}
	rejected, all := falsified()
	f.add(rejected == all, "%d of %d falsified histories rejected", rejected, all)
	return nil
}

// etcdDisturbed kills and pauses nodes while clients work.
func (b *bench) etcdDisturbed(ctx context.Context, nodes int, f *figures) error {
	c, err := etcdserver.Start(ctx, etcdserver.Options{Nodes: nodes})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: c.Endpoints()})
	if err != nil {
		return err
	}
	defer s.Close()
	random := rand.New(rand.NewPCG(b.seed, uint64(nodes)))
	killed, paused := 0, 0
	r, err := linear.Run(ctx, linear.Options{
		Store: func(int) linear.Store { return s },
		Nemesis: func(ctx context.Context) error {
			for pause(ctx, random, 500) {
				i := random.IntN(nodes)
				if random.IntN(3) == 0 {
					paused++
					if err := pauseNode(ctx, c, i, random); err != nil {
						return err
					}
					continue
				}
				killed++
				c.Kill(i)
				if err := c.Restart(i); err != nil {
					return err
				}
			}
			return nil
		},
		Operations: b.of(12_000, 100_000), Seed: b.seed, Dir: os.TempDir(),
	})
	if err != nil {
		return fmt.Errorf("etcd, %d nodes: %w", nodes, err)
	}
	f.add(r.Linearizable && killed > 0, "etcd, %d node(s): %d operations (%d of unknown outcome), %d kills, %d pauses, ok", nodes, r.Operations, r.Unknown, killed, paused)
	return nil
}

// pauseNode stops a node for up to three seconds, which is longer than an election.
func pauseNode(ctx context.Context, c *etcdserver.Cluster, i int, random *rand.Rand) error {
	if err := c.Pause(i); err != nil {
		return err
	}
	pause(ctx, random, 3000)
	return c.Resume(i)
}

// falsified says how many histories that cannot be were rejected.
func falsified() (rejected, all int) {
	key := 0
	write := linear.Operation{Call: 1, Return: 2, Rev: 1, Then: []linear.Change{{Key: key, Value: "a"}}}
	next := linear.Operation{Call: 3, Return: 4, Rev: 2, Then: []linear.Change{{Key: key, Value: "b"}}}
	read := linear.Operation{Client: 1, Call: 5, Return: 6, Get: &key, Rev: 2}
	read.Saw[key] = linear.Record{Value: "b", Mod: 2, Create: 1}
	stale, early, twice := read, read, next
	stale.Saw[key] = linear.Record{Value: "a", Mod: 1, Create: 1}
	early.Call, early.Return, twice.Rev = -1, 0, 1
	if !linear.Judge([]linear.Operation{write, next, read}).Linearizable {
		return 0, 3 // a judge that rejects everything
	}
	for _, h := range [][]linear.Operation{{write, next, stale}, {early, write, next}, {write, twice}} {
		all++
		if !linear.Judge(h).Linearizable {
			rejected++
		}
	}
	return rejected, all
}
