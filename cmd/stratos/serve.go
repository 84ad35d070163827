package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cmd/stratos/internal/config"
)

//go:embed example.yaml
var example []byte

// shutdownTimeout is how long members may take to end, beyond their drain.
const shutdownTimeout = time.Minute

// serveFlags are the flags of serve.
type serveFlags struct {
	config, logLevel         string
	example, check, shutdown bool
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the platform that a file describes, until SIGINT or SIGTERM",
		Long: `Run the platform that a file describes, until SIGINT or SIGTERM.

Subscriptions of the file that are missing are made; of those that are there,
min and max are brought up to date. The members go on running when serve ends,
and the next serve adopts them; --shutdown ends them.

Several serves, on several machines, are the replicas of one control plane if
their files name the same etcd cluster (store) and bucket (blobs): one of them
leads, all of them answer. docs/several-machines.md goes through it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.example {
				_, err := c.OutOrStdout().Write(example)
				return err
			}
			return serve(c, f)
		},
	}
	c.Flags().StringVarP(&f.config, "config", "c", "", "the `file`, YAML; --example shows its fields")
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "`level` from which on is logged: debug, info, warn or error")
	c.Flags().BoolVar(&f.shutdown, "shutdown", false, "end the members too, at the end")
	c.Flags().BoolVar(&f.check, "check", false, "only check the file, and those of certificates and keys that it names")
	c.Flags().BoolVar(&f.example, "example", false, "print a file with all fields, and do nothing else")
	return c
}

func serve(c *cobra.Command, f serveFlags) error {
	if f.config == "" {
		return errors.New(`no configuration: give --config FILE; "stratos serve --example > stratos.yaml" writes one to begin with`)
	}
	file, err := config.Load(f.config)
	if err != nil {
		return err
	}
	log, err := newLog(c.ErrOrStderr(), f.logLevel)
	if err != nil {
		return err
	}
	if f.check {
		if err := file.CheckFiles(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s: good\n", f.config)
		return err
	}
	cfg, closeStore, err := file.Open(c.Context(), log)
	if err != nil {
		return err
	}
	p, err := stratos.New(cfg)
	if err != nil {
		return errors.Join(err, closeStore())
	}
	err = servePlatform(c.Context(), p, file, log)
	switch {
	case f.shutdown:
		err = errors.Join(err, shutdown(c.Context(), p, log))
	case err == nil:
		// The one thing to know at the end, whatever the log's level.
		fmt.Fprintln(c.ErrOrStderr(), "stratos: the members go on; the next serve adopts them, and --shutdown ends them")
	}
	return errors.Join(err, p.Close(), closeStore())
}

// newLog writes lines of text from a level on.
func newLog(w io.Writer, name string) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return nil, fmt.Errorf("--log-level %q: write debug, info, warn or error", name)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
}

// servePlatform runs the platform, and subscribes what the file wishes for.
func servePlatform(ctx context.Context, p *stratos.Platform, file *config.File, log *slog.Logger) error {
	cfg := p.Config()
	log.Info("platform", "version", stratos.Version, "name", cfg.Name, "dir", cfg.Dir, "listen", cfg.Listen, "api", cfg.API)
	s := &subscriber{platform: p, wishes: file.Wishes(), domain: cfg.Domain, every: subscribeEvery, log: log}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Run(ctx) })
	g.Go(func() error { return s.Run(ctx) })
	return g.Wait()
}

func shutdown(ctx context.Context, p *stratos.Platform, log *slog.Logger) error {
	limit := p.Config().Drain + shutdownTimeout
	log.Info("ending the members", "limit", limit)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		return fmt.Errorf("ending the members: %w", err)
	}
	log.Info("nothing is left running")
	return nil
}
