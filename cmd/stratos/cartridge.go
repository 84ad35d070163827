package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/tenant"
)

// maxDefinition bounds what is read of a file; what a definition may be is less.
const maxDefinition = 1 << 20

// cartridgeFlags say which control plane is asked, and about whose cartridges.
type cartridgeFlags struct {
	control controlFlags
	tenant  string
}

func (f *cartridgeFlags) register(c *cobra.Command) {
	f.control.register(c, adminToken)
	c.Flags().StringVar(&f.tenant, "tenant", "", "the cartridges of this `tenant`, which no other can see (default: those for everyone)")
}

func newCartridge() *cobra.Command {
	c := &cobra.Command{
		Use:   "cartridge",
		Short: "List, check, add, update and withdraw cartridges that are only data",
		Long: `List, check, add, update and withdraw cartridges that are only data: a file, YAML
or JSON, says what to install, write, start and watch. No control plane needs to
be built or started anew for it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCartridgeList(), newCartridgeCheck(), newCartridgePut(), newCartridgeWithdraw())
	return c
}

func newCartridgeList() *cobra.Command {
	var f cartridgeFlags
	c := &cobra.Command{
		Use:   "list --control URL --token-file FILE [--tenant TENANT]",
		Short: "List what can be subscribed to",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			all, err := api.Cartridges(c.Context(), tenant.ID(f.tenant))
			if err != nil {
				return f.control.explain(err)
			}
			return writeCartridges(c.OutOrStdout(), all)
		},
	}
	f.register(c)
	return c
}

// writeCartridges lists cartridges in columns.
func writeCartridges(w io.Writer, all []client.Cartridge) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tFOR\tVERSION\tDESCRIPTION") // Flush says what went wrong
	for _, k := range all {
		whose := "everyone"
		switch {
		case k.BuiltIn:
			whose = "everyone (built in)"
		case k.Tenant != "":
			whose = "tenant " + string(k.Tenant)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.Name, whose, k.Version, k.Description)
	}
	return t.Flush()
}

func newCartridgeCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "Say what is wrong with a definition, with its line and field",
		Example: "  stratos cartridge check redis.yaml",
		Args:    oneArgument("the file of a definition"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := readDefinition(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: cartridge %s is good\n", args[0], d.Name)
			return err
		},
	}
}

func newCartridgePut() *cobra.Command {
	var f cartridgeFlags
	c := &cobra.Command{
		Use:   "put FILE --control URL --token-file FILE [--tenant TENANT]",
		Short: "Add a cartridge, or replace the one of that name",
		Long: `Add a cartridge, or replace the one of that name. It can be subscribed to at once.

What runs already stays as it is: releases that are made from now on are planned
with what is new.`,
		Example: "  stratos cartridge put redis.yaml --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the file of a definition"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := readDefinition(args[0])
			if err != nil {
				return err
			}
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.PutCartridge(c.Context(), tenant.ID(f.tenant), d); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "cartridge %s can be subscribed to\n", d.Name)
			return err
		},
	}
	f.register(c)
	return c
}

func newCartridgeWithdraw() *cobra.Command {
	var f cartridgeFlags
	c := &cobra.Command{
		Use:   "withdraw NAME --control URL --token-file FILE [--tenant TENANT]",
		Short: "Take a cartridge back that no subscription uses",
		Args:  oneArgument("the name of a cartridge (\"stratos cartridge list\" shows it)"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.WithdrawCartridge(c.Context(), tenant.ID(f.tenant), args[0]); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "cartridge %s is withdrawn\n", args[0])
			return err
		},
	}
	f.register(c)
	return c
}

// readDefinition reads a file; what is wrong is named with its line.
func readDefinition(path string) (cartridge.Definition, error) {
	file, err := os.Open(path)
	if err != nil {
		return cartridge.Definition{}, err
	}
	defer file.Close() // only read
	text, err := io.ReadAll(io.LimitReader(file, maxDefinition))
	if err != nil {
		return cartridge.Definition{}, err
	}
	d, err := cartridge.DecodeDefinition(text)
	if err != nil {
		return d, fmt.Errorf("%s is not good:\n%w", path, err)
	}
	return d, nil
}
