package main

import (
	"context"
	"os/exec"

	"github.com/gostratos/stratos/internal/reliability/powercut"
	"github.com/gostratos/stratos/store"
)

// powerCuts is row 9.
func powerCuts(ctx context.Context, b *bench, f *figures) error {
	r, err := b.cutPower(ctx, "powercut", b.of(20, 200), false)
	if err != nil {
		return err
	}
	f.add(r.Lost+r.Torn+r.Unreadable == 0 && r.Acknowledged > 0, "bolt: %d power cuts, %d acknowledged, %d lost, %d torn, %d unreadable", r.Rounds, r.Acknowledged, r.Lost, r.Torn, r.Unreadable)
	r, err = b.cutPower(ctx, "powercut-control", b.of(10, 40), true)
	if err != nil {
		return err
	}
	f.add(r.Lost > 0, "on a disk that ignores syncs: %d of %d lost", r.Lost, r.Acknowledged)
	return nil
}

func (b *bench) cutPower(ctx context.Context, name string, rounds int, lies bool) (powercut.Result, error) {
	dir, err := b.folder(name)
	if err != nil {
		return powercut.Result{}, err
	}
	return powercut.Run(ctx, powercut.Options{
		Dir: dir, Rounds: rounds, Seed: b.seed, IgnoreSync: lies,
		Writer: func(ctx context.Context, dir, run string) *exec.Cmd {
			return b.child(ctx, childWrites, storeFile(dir), run)
		},
		Open: func(dir string) (store.Store, error) { return openBolt(storeFile(dir)) },
	})
}
