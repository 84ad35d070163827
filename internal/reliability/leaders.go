package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

const (
	election   = "reliability"
	electionID = "parent"
	ttl        = 5 * time.Second
	// spare is what the target allows beyond the lease.
	spare = 2 * time.Second
	// refusals is how often an old leader goes on trying.
	refusals = 100
)

// leaders is row 5.
func leaders(ctx context.Context, b *bench, f *figures) error {
	c, err := etcdserver.Start(ctx, etcdserver.Options{Nodes: 3})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: c.Endpoints()})
	if err != nil {
		return err
	}
	defer s.Close()
	e := &contest{b: b, store: s, endpoints: c.Endpoints(), random: rand.New(rand.NewPCG(b.seed, 5))}
	for range b.of(4, 60) {
		if err := e.round(ctx, false); err != nil {
			return err
		}
	}
	for range b.of(3, 20) {
		if err := e.round(ctx, true); err != nil {
			return err
		}
	}
	slices.Sort(e.took)
	median, longest := e.took[len(e.took)/2], e.took[len(e.took)-1]
	f.add(longest <= ttl+spare, "etcd, lease %v: a new leader after %.1f s (median of %d), at most %.1f s", ttl, median.Seconds(), len(e.took), longest.Seconds())
	f.add(e.accepted == 0 && e.refused > 0, "paused old leaders: %d of %d writes accepted", e.accepted, e.accepted+e.refused)
	cut, err := b.partitioned(ctx)
	if err != nil {
		return err
	}
	f.add(cut.NewLeader > 0 && cut.NewLeader <= cut.LeaseTTL+spare, "leader cut off, lease %v: another after %.1f s", cut.LeaseTTL, cut.NewLeader.Seconds())
	return nil
}

// contest is two campaigners: a child that leads, and this process.
type contest struct {
	b         *bench
	store     store.Store
	endpoints []string
	random    *rand.Rand
	rounds    int

	took              []time.Duration
	accepted, refused int
}

// round lets a child lead, takes it away, and waits until this process leads.
func (e *contest) round(ctx context.Context, pause bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	e.rounds++
	id := fmt.Sprintf("child%d", e.rounds)
	c, err := startRival(e.b.child(ctx, childLeads, strings.Join(e.endpoints, ","), id))
	if err != nil {
		return err
	}
	defer c.kill()
	if err := c.hear("leads"); err != nil {
		return err
	}
	won := make(chan error, 1)
	var mine *store.Leadership
	go func() {
		var err error
		mine, err = store.Campaign(ctx, e.store, election, electionID, ttl)
		won <- err
	}()
	for range 1 + e.random.IntN(50) { // the moment
		if err := c.hear("wrote"); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	signal := syscall.SIGKILL
	if pause {
		signal = syscall.SIGSTOP
	}
	if err := c.cmd.Process.Signal(signal); err != nil {
		return err
	}
	began := time.Now()
	if err := <-won; err != nil {
		return err
	}
	e.took = append(e.took, time.Since(began))
	if pause {
		err = e.goOn(ctx, c, id, mine)
	}
	return errors.Join(err, mine.Resign(ctx))
}

// goOn lets the old leader go on, and looks at what became of its writes.
func (e *contest) goOn(ctx context.Context, c *rival, id string, mine *store.Leadership) error {
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	for range refusals {
		if err := c.hear("refused"); err != nil {
			return err
		}
		e.refused++
	}
	kv, _, err := e.store.Get(ctx, writtenKey(id), store.ReadOptions{})
	if err != nil {
		return err
	}
	if kv.Mod > mine.Epoch() { // the last of them, so at least one
		e.accepted++
	}
	return nil
}
