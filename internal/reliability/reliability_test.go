package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name, only string
		want       []int
		wrong      string
	}{
		{"all", "", []int{1, 2, 3, 4, 5, 6, 7, 8, 9}, ""},
		{"some", "4, 1", []int{4, 1}, ""},
		{"unknown", "10", nil, `no row "10"`},
		{"no number", "x", nil, `no row "x"`},
		{"nothing between commas", "1,", nil, `no row ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			chosen, err := choose(rows(), test.only)
			if test.wrong != "" {
				require.ErrorContains(t, err, test.wrong)
				return
			}
			require.NoError(t, err)
			var got []int
			for _, r := range chosen {
				got = append(got, r.number)
			}
			require.Equal(t, test.want, got)
		})
	}
}

// TestTable: a figure off its target, an error, and a row without any figure
// are failures.
func TestTable(t *testing.T) {
	of := func(f func(*figures) error) func(context.Context, *bench, *figures) error {
		return func(_ context.Context, _ *bench, fs *figures) error { return f(fs) }
	}
	var tab table
	tab.measure(t.Context(), newBench(options{log: io.Discard}), []row{
		{1, "good", "0", of(func(f *figures) error { f.add(true, "%d", 0); f.add(true, "none"); return nil })},
		{2, "bad", "0", of(func(f *figures) error { f.add(false, "1|2"); f.add(true, "0"); return nil })},
		{3, "broken", "0", of(func(f *figures) error { f.add(true, "0"); return errors.New("no server\nand a log") })},
		{4, "silent", "0", of(func(*figures) error { return nil })},
	})
	var out strings.Builder
	require.NoError(t, tab.print(&out))
	_, body, _ := strings.Cut(out.String(), "| --- | --- | --- | --- | --- |\n")
	require.Equal(t, `| 1 | good | 0 | 0; none | ok |
| 2 | bad | 0 | 1\|2; 0 | FAILED |
| 3 | broken | 0 | 0; no server | FAILED |
| 4 | silent | 0 |  | FAILED |
`, body)
	require.False(t, tab.met())
	tab.Rows = tab.Rows[:1]
	require.True(t, tab.met())
}

func TestFalsifiedHistoriesAreRejected(t *testing.T) {
	rejected, all := falsified()
	require.Equal(t, 3, all)
	require.Equal(t, all, rejected)
}

func TestReasonOfAFailure(t *testing.T) {
	out := "=== RUN   TestX\n    x_test.go:7: STRATOS_TEST_SEED=5 (token, faults 0.1): leaked: i-3\n--- FAIL: TestX (0.00s)\nFAIL\n"
	require.Equal(t, "x_test.go:7: STRATOS_TEST_SEED=5 (token, faults 0.1): leaked: i-3", firstLine(reason([]byte(out))))
}

func TestRatio(t *testing.T) {
	for line, want := range map[string]float64{
		"topology in memory, ms 71 566 8.0": 8, "goroutines 132 1032 7.8": 7.8, "1000 members 10000 members": 0,
		"go1.26, 2 cores, load average 6.75 3.58 1.97": 0, "": 0,
	} {
		require.InDelta(t, want, ratio(line), 0, line)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-only", "77"}, {"7"}, {"-nonsense"}} {
		require.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%v", args)
	}
	require.ErrorContains(t, child(t.Context(), []string{"writes"}), "two arguments")
	require.ErrorContains(t, child(t.Context(), []string{"naps", "a", "b"}), "no task")
}
