package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/store/mem"
)

// perHistory bounds a history: the judge's memory grows with the square of its length.
const perHistory = 10_000

// histories judges one history after the other, each of a store of its own,
// until there are enough operations.
func (b *bench) histories(operations int, one func(linear.Options) (linear.Result, error)) (linear.Result, error) {
	sum := linear.Result{Linearizable: true}
	for i := uint64(0); sum.Operations < operations; i++ {
		r, err := one(linear.Options{Operations: min(perHistory, operations), Seed: b.seed + i, Dir: os.TempDir()})
		if err != nil {
			return sum, err
		}
		sum.Operations += r.Operations
		sum.Unknown += r.Unknown
		sum.Failed += r.Failed
		sum.Linearizable = sum.Linearizable && r.Linearizable
	}
	return sum, nil
}

// linearizability is row 3.
func linearizability(ctx context.Context, b *bench, f *figures) error {
	dir, err := b.folder("linear")
	if err != nil {
		return err
	}
	r, err := b.histories(b.of(10_000, 100_000), func(o linear.Options) (linear.Result, error) {
		s := mem.New()
		defer s.Close()
		o.Store = func(int) linear.Store { return s }
		return linear.Run(ctx, o)
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
	random := rand.New(rand.NewPCG(b.seed, uint64(nodes)))
	killed, paused := 0, 0
	disturb := func(ctx context.Context, c *etcdserver.Cluster) error {
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
	}
	r, err := b.histories(b.of(10_000, 100_000), func(o linear.Options) (_ linear.Result, err error) {
		c, err := etcdserver.Start(ctx, etcdserver.Options{Nodes: nodes})
		if err != nil {
			return linear.Result{}, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		s, err := etcd.Open(ctx, etcd.Config{Endpoints: c.Endpoints()})
		if err != nil {
			return linear.Result{}, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		o.Store = func(int) linear.Store { return s }
		o.Nemesis = func(ctx context.Context) error { return disturb(ctx, c) }
		return linear.Run(ctx, o)
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
