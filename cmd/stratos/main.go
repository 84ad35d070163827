// Command stratos runs a platform from a file, and looks at the machine that
// it is to run on.
//
//	stratos serve --example > stratos.yaml   a file to begin with
//	stratos doctor                           what this machine has, and lacks
//	stratos serve --config stratos.yaml      until Ctrl-C
//	stratos balancer --control URL           a balancer in a process of its own
//	stratos token balancer NAME              the token that it needs; list, end ID
//	stratos cartridge put FILE               a cartridge that is only data; list
//	stratos logs ALIAS                       what instances printed
//	stratos holds                            what waits for an operator
//	stratos store backup -o FILE             a copy of the records; restore FILE
//	stratos version
//
// It is one flavour of many: who needs another cloud, policy or cartridge than
// a file can name writes a Go program of some 30 lines.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gostratos/stratos/cloud/local"
)

func main() {
	local.Main() // when this process was started as an instance's agent: run it, do not return

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newRoot()
	c.SetArgs(doubleDash(c, args))
	c.SetOut(stdout)
	c.SetErr(stderr)
	if err := c.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "stratos:", strings.ReplaceAll(err.Error(), "\n", "\nstratos: "))
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	c := &cobra.Command{
		Use:           "stratos",
		Short:         "Run a Platform as a Service from a file",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.CompletionOptions.HiddenDefaultCmd = true
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())
	})
	c.AddCommand(newServe(), newBalancer(), newToken(), newCartridge(), newCredentials(), newRepository(), newWebhook(), newConnect(), newDisconnect(), newService(), newSwitch(), newSynchronise(), newLogs(), newHolds(), newStore(), newDoctor(), newVersion())
	return c
}

// doubleDash lets flags with one dash pass, as other Go programs have them:
// without it, -config would be read as -c with the value "onfig".
func doubleDash(root *cobra.Command, args []string) []string {
	known := map[string]bool{"help": true}
	var learn func(*cobra.Command)
	learn = func(of *cobra.Command) {
		of.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, c := range of.Commands() {
			learn(c)
		}
	}
	learn(root)
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, dashed := strings.CutPrefix(a, "-")
		name, _, _ = strings.Cut(name, "=")
		if dashed && known[name] {
			out[i] = "-" + a
		}
	}
	return out
}
