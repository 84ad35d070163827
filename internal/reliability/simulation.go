package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

const controllerPackage = "/cloud/controller"

// simulation is row 2.
func simulation(ctx context.Context, b *bench, f *figures) error {
	n := b.of(10_000, 100_000)
	first := b.seed % 1_000_000_000 // a seed that people can type
	program, err := b.buildTest(ctx, controllerPackage)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	parts := runtime.NumCPU()
	for i := range parts {
		from, to := n*i/parts, n*(i+1)/parts
		g.Go(func() error {
			cmd := command(gctx, program, "-test.v", "-test.timeout", "24h", "-test.run", "^TestSimulation$")
			cmd.Dir = b.dir
			cmd.Env = append(os.Environ(),
				"STRATOS_SIM_SEEDS="+strconv.Itoa(to-from), "STRATOS_TEST_SEED="+strconv.FormatUint(first+uint64(from), 10))
			_, err := output(cmd, "TestSimulation")
			return err
		})
	}
	broken := g.Wait()
	if broken != nil {
		f.add(false, "violations among %d seeds from %d", n, first)
	} else {
		f.add(true, "%d seeds from %d, 0 violations", n, first)
	}
	return errors.Join(broken, mutations(ctx, f))
}

// mutations counts those that the tests of the controller notice.
func mutations(ctx context.Context, f *figures) error {
	out, err := goTest(ctx, controllerPackage, "^TestMutations$", "STRATOS_TEST_SEED=")
	caught, all := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^\s+--- (PASS|FAIL): TestMutations/(\S+)`).FindAllStringSubmatch(out, -1) {
		if strings.HasPrefix(m[2], "control:") {
			continue
		}
		all++
		if m[1] == "PASS" {
			caught++
		}
	}
	f.add(caught == all && all > 0, "%d of %d mutations caught", caught, all)
	return err
}
