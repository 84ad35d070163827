// Command control measures a whole control plane, with members on cloud/mock
// that a former run had launched: how long a restart takes until it serves,
// how long the leader's first pass over all clusters takes, and what it costs
// at rest. Each run is a process of its own, over a store in a file; every
// size is measured at a tenth, too, so that growth can be seen.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// options say what is measured.
type options struct {
	Clusters, Runs int
	Rest           time.Duration // how long a settled process is watched
	Profile        string        // file for the CPU profile of the platform's process
}

func main() {
	var o options
	child := flag.String("child", "", "be the measured process, on this data `folder`")
	raise := flag.Bool("raise", false, "with -child: every cluster wants one member more, instead of the last one")
	flag.IntVar(&o.Clusters, "clusters", 10_000, "clusters, of ten members each; a tenth is measured too")
	flag.IntVar(&o.Runs, "runs", 3, "of each kind; medians are reported")
	flag.DurationVar(&o.Rest, "rest", 10*time.Second, "how long the CPU at rest is measured")
	flag.StringVar(&o.Profile, "profile", "", "`file` for the CPU profile of the last measured process; that of its heap is beside it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *child != "" {
		var f figures
		if f, err = serve(ctx, *child, o, *raise); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(f)
		}
	} else {
		err = report(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// report measures both sizes and prints the table.
func report(ctx context.Context, o options) error {
	load, _ := os.ReadFile("/proc/loadavg") // only for the headline
	fmt.Printf("%s, %s, %d cores, load average %s\n", time.Now().UTC().Format(time.DateTime), runtime.Version(), runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
	full := o
	o.Clusters = max(o.Clusters/10, 1)
	tenth, err := measure(ctx, o)
	if err != nil {
		return err
	}
	whole, err := measure(ctx, full)
	if err != nil {
		return err
	}
	fmt.Printf("a restart of a platform, on a bolt file, medians of %d; the built-in proxy has the table\n", o.Runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%d clusters\t%d clusters\tratio\t\n", o.Clusters, full.Clusters)
	fmt.Fprintf(w, "\t%d members\t%d members\t\t\n", perCluster*o.Clusters, perCluster*full.Clusters)
	for i, r := range tenth.rows() {
		b := whole.rows()[i]
		fmt.Fprintf(w, "%s\t%.*f\t%.*f\t%.1f\t\n", r.name, r.digits, r.value, r.digits, b.value, b.value/r.value)
	}
	return w.Flush()
}

// measure fills a store with so many clusters and restarts the platform on
// copies of it, o.Runs times of each kind.
func measure(ctx context.Context, o options) (f figures, err error) {
	dir, err := os.MkdirTemp("", "stratos-bench")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	whole := filepath.Join(dir, "filled")
	if err := fill(ctx, whole, o.Clusters); err != nil {
		return f, fmt.Errorf("filling the store: %w", err)
	}
	var all []figures
	for n := range o.Runs {
		idle, err := restart(ctx, whole, filepath.Join(dir, fmt.Sprintf("idle%d", n)), o, false)
		if err != nil {
			return f, err
		}
		raised, err := restart(ctx, whole, filepath.Join(dir, fmt.Sprintf("raised%d", n)), o, true)
		if err != nil {
			return f, err
		}
		idle.Launched, idle.LaunchCPU = raised.Launched, raised.LaunchCPU
		all = append(all, idle)
	}
	return median(all), nil
}

// restart runs the platform once, in a process of its own, on a copy of a data folder.
func restart(ctx context.Context, from, dir string, o options, raise bool) (f figures, err error) {
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, self, "-child", dir, "-clusters", strconv.Itoa(o.Clusters), "-rest", o.Rest.String(),
		"-raise="+strconv.FormatBool(raise), "-profile", o.Profile)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("the measured process: %w", err)
	}
	return f, json.Unmarshal(out, &f)
}

// median takes the median of each figure by itself.
func median(all []figures) (m figures) {
	for i, p := range m.fields() {
		var values []float64
		for _, f := range all {
			values = append(values, *f.fields()[i])
		}
		slices.Sort(values)
		*p = values[len(values)/2]
	}
	return m
}
