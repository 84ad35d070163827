package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// steepest is the most that a figure may grow by from a tenth of the size: half
// again as much as what is linear, for both are measured on a busy machine.
const steepest = 15

// scale is row 8: the benchmark of the control plane, whose lines are quoted.
func scale(ctx context.Context, b *bench, f *figures) error {
	cmd := command(ctx, "go", "run", module+"/internal/bench/control",
		"-clusters", strconv.Itoa(b.of(1000, 10_000)), "-runs", "3")
	cmd.Stderr = b.log
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("internal/bench/control: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			f.add(ratio(line) <= steepest, "%s", line)
		}
	}
	return nil
}

// ratio is the last figure of a line that ends with three; 0 for other lines.
func ratio(line string) float64 {
	fields := strings.Fields(line)
	if len(fields) < 4 || strings.Contains(line, "load average") {
		return 0
	}
	var last float64
	for _, field := range fields[len(fields)-3:] {
		var err error
		if last, err = strconv.ParseFloat(field, 64); err != nil {
			return 0
		}
	}
	return last
}
