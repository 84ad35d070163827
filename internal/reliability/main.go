// Command reliability measures what a release promises about faults, and prints
// the table of it: what is lost, leaked, doubled or missed when processes are
// killed or paused, networks are cut, frames are mangled, and power goes.
//
// It needs root, and the programs that the tests need. Run it inside the
// repository.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == childArg {
		err = child(ctx, os.Args[2:])
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		stop()
		os.Exit(1)
	}
}

// errMissed: it is in the table which.
var errMissed = errors.New("a target was missed")

// run measures the rows that are asked for, and prints them to out.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	o := options{log: log}
	flags := flag.NewFlagSet("reliability", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.BoolVar(&o.short, "short", false, "some ten minutes instead of some two hours")
	flags.Uint64Var(&o.seed, "seed", rand.Uint64(), "decides the random moments")
	only := flags.String("only", "", "numbers of rows, with commas between; default: all")
	asJSON := flags.Bool("json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	chosen, err := choose(rows(), *only)
	if err != nil {
		return err
	}
	if o.program, err = os.Executable(); err != nil {
		return err
	}
	fmt.Fprintf(log, "seed %d\n", o.seed)
	if o.dir, err = os.MkdirTemp("", "reliability-"); err != nil {
		return err
	}
	t := table{Go: runtime.Version(), Machine: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Short: o.short, Seed: o.seed}
	t.measure(ctx, newBench(o), chosen)
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(t)
	} else {
		err = t.print(out)
	}
	if !t.met() {
		fmt.Fprintf(log, "what the programs said is kept in %s\n", o.dir)
		return errors.Join(err, errMissed)
	}
	return errors.Join(err, os.RemoveAll(o.dir))
}

// choose picks rows by their numbers.
func choose(all []row, only string) ([]row, error) {
	if only == "" {
		return all, nil
	}
	var chosen []row
	for text := range strings.SplitSeq(only, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		i := slices.IndexFunc(all, func(r row) bool { return r.number == n })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("there is no row %q: give numbers from 1 to %d", text, len(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
