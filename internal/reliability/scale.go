package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// scale is row 8: the benchmarks of the control plane, whose lines are quoted.
func scale(ctx context.Context, b *bench, f *figures) error {
	cmd := command(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", "1x", "-timeout", "1h", module+"/internal/bench/control")
	cmd.Env = os.Environ()
	if !b.short {
		cmd.Env = append(cmd.Env, "STRATOS_BENCH_FULL=1")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("internal/bench/control: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			f.add(true, "%s", strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}
