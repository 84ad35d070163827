// Command apaas is an application PaaS on one machine: PHP pages and any other
// program, each from a Git repository, on instances that are local processes,
// balanced, and scaled by requests in flight.
//
// It makes two sample applications, serves them, and says what to try next.
// See the README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/cartridge/php"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cartridge/tomcat"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

// options are the command's flags.
type options struct {
	listen, api, dir    string
	keep, load, verbose bool
}

func main() {
	local.Main() // when this process was started as an instance's agent: run it, do not return

	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8000", "`address` of the balancer")
	flag.StringVar(&o.api, "api", "127.0.0.1:8080", "`address` of the control plane's API")
	flag.StringVar(&o.dir, "dir", "apaas.data", "data `folder`")
	flag.BoolVar(&o.keep, "keep", false, "leave the members running at the end; the next start adopts them")
	flag.BoolVar(&o.load, "load", false, "drive load against the app counter and show how it scales (uses a platform that runs, or starts one)")
	flag.BoolVar(&o.verbose, "v", false, "log everything")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "apaas:", err)
		stop()
		os.Exit(1)
	}
}

// config is the flavour: everything that this PaaS is made of.
func config(o options) stratos.Config {
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelDebug
	}
	return stratos.Config{
		Name:       "apaas",
		Dir:        o.dir,
		Listen:     o.listen,
		API:        o.api,
		Cartridges: []cartridge.Type{php.Type{}, tomcat.Type{}, mysql.Type{}, proc.Type{}},
		Policies:   map[string]autoscale.Policy{"": autoscale.InFlight{PerMember: 10}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
		Interval:   2 * time.Second, // livelier than the default: this is a demonstration
		Poll:       2 * time.Second,
		Boot:       time.Minute,
		Log:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	if o.load && answers(ctx, o.api) {
		return driveLoad(ctx, o, out)
	}
	p, err := stratos.New(config(o))
	if err != nil {
		return err
	}
	err = runPlatform(ctx, p, o, out)
	if o.keep {
		fmt.Fprintln(out, "\nthe members stay up; the next start adopts them.")
	} else {
		err = errors.Join(err, shutdown(ctx, p, out))
	}
	return errors.Join(err, p.Close())
}

// runPlatform runs until ctx ends, or the demonstration of load is over.
func runPlatform(ctx context.Context, p *stratos.Platform, o options, out io.Writer) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error {
		if err := subscribeSamples(ctx, p, o.dir, out); err != nil {
			return ignoreEnd(ctx, err)
		}
		if err := show(ctx, p, o, out); err != nil || !o.load {
			return ignoreEnd(ctx, err)
		}
		defer end()
		return ignoreEnd(ctx, driveLoad(ctx, o, out))
	})
	return g.Wait()
}

// ignoreEnd drops errors that are only the end of the context.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func shutdown(ctx context.Context, p *stratos.Platform, out io.Writer) error {
	fmt.Fprintln(out, "\nending the members ...")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		return fmt.Errorf("ending the members: %w", err)
	}
	fmt.Fprintln(out, "nothing is left running. The repositories are kept in the data folder.")
	return nil
}
