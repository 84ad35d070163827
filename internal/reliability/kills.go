package main

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/gostratos/stratos/internal/reliability/crash"
	"github.com/gostratos/stratos/store"
)

// kills is row 1: the test of the root package with its instances, and the
// store alone.
func kills(ctx context.Context, b *bench, f *figures) error {
	n := b.of(40, 1000)
	out, err := goTest(ctx, "", "^TestKilledControlPlane$",
		"STRATOS_TEST_KILLS="+strconv.Itoa(n), "STRATOS_TEST_SEED="+strconv.FormatUint(b.seed, 10))
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`RELIABILITY: (.*)`).FindStringSubmatch(out)
	if found == nil {
		return errors.New("TestKilledControlPlane did not say how often it killed")
	}
	f.add(true, "control plane: %s", found[1])
	return storeKills(ctx, b, f)
}

// storeKills kills a process that writes to bolt.
func storeKills(ctx context.Context, b *bench, f *figures) error {
	dir, err := b.folder("kills")
	if err != nil {
		return err
	}
	path := storeFile(dir)
	r, err := crash.Run(ctx, crash.Options{
		Writer: func(ctx context.Context, run string) *exec.Cmd { return b.child(ctx, childWrites, path, run) },
		Open:   func() (store.Store, error) { return openBolt(path) },
		Rounds: b.of(30, 300), Seed: b.seed,
	})
	if err != nil {
		return err
	}
	f.add(r.Lost == 0 && r.Torn == 0 && r.Acknowledged > 0, "bolt: %d kills, %d acknowledged, %d lost, %d torn", r.Rounds, r.Acknowledged, r.Lost, r.Torn)
	return nil
}
