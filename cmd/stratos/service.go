package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
)

// newConnect and newDisconnect are about who uses whose service.
func newConnect() *cobra.Command {
	return connection("connect", "Connect a subscription to the service of another, a database say",
		`Connect a subscription to the service of another one of its tenant. Its next
runtime, which starts at once, has a user of its own in its environment:
DATABASE_URL, and <PROVIDER>_HOST, _PORT, _NAME, _USER, _PASSWORD and _URL.`,
		"%s is connected to %s\n", (*client.Client).Connect)
}

func newDisconnect() *cobra.Command {
	return connection("disconnect", "Take a subscription's user of another one's service away, at once",
		`Take a subscription's user of another one's service away, at once. What it stored
stays.`, "%s is not connected to %s any more\n", (*client.Client).Disconnect)
}

func connection(name, short, long, done string, do func(*client.Client, context.Context, tenant.ID, string, string) error) *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use: name + " ALIAS PROVIDER --control URL --token-file FILE", Short: short, Long: long,
		Example: "  stratos " + name + " shop db --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    twoArguments("the ALIAS of a subscription, and that of the PROVIDER"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := do(api, c.Context(), tenant.ID(f.tenant), args[0], args[1]); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), done, args[0], args[1])
			return err
		},
	}
	f.register(c)
	return c
}

// twoArguments wants exactly what is named.
func twoArguments(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return fmt.Errorf("say %s; see \"%s --help\"", what, c.CommandPath())
		}
		return nil
	}
}

func newService() *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Back up what a subscription's service stores, and bring it back",
		Long: `Back up what a subscription's service stores, a database say, and bring it back.
Backups are kept by the control plane, also when the subscription ends, until they
are removed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newServiceBackup(), newServiceList(), newServiceRestore(), newServiceDownload(), newServiceRemove())
	return c
}

// serviceCommand is a command that calls the control plane.
func serviceCommand(use, short, long, example string, args cobra.PositionalArgs, run func(*cobra.Command, *client.Client, tenant.ID, []string) error) *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use: use + " --control URL --token-file FILE", Short: short, Long: long, Args: args,
		Example: "  stratos service " + example + " --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := run(c, api, tenant.ID(f.tenant), args); err != nil {
				return f.control.explain(err)
			}
			return nil
		},
	}
	f.register(c)
	return c
}

func newServiceBackup() *cobra.Command {
	return serviceCommand("backup ALIAS", "Back up all that a service stores, and print the backup's name",
		"Back up all that a service stores, wait for the end, and print the backup's name.",
		"backup db", oneArgument("the ALIAS of a subscription"),
		func(c *cobra.Command, api *client.Client, t tenant.ID, args []string) error {
			id, err := api.BackUpService(c.Context(), t, args[0])
			if err != nil {
				return err
			}
			j, err := awaitJob(c, api, t, args[0], id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s  %d bytes\n", j.ID, j.Size)
			return err
		})
}

func newServiceRestore() *cobra.Command {
	return serviceCommand("restore ALIAS BACKUP", "Bring a backup back, in the place of what is there",
		"Bring a backup back, in the place of what is there, and wait for the end.",
		"restore db 20261124T101500.000Z-abcdef", twoArguments("the ALIAS of a subscription, and the name of a BACKUP"),
		func(c *cobra.Command, api *client.Client, t tenant.ID, args []string) error {
			id, err := api.RestoreService(c.Context(), t, args[0], args[1])
			if err != nil {
				return err
			}
			if _, err := awaitJob(c, api, t, args[0], id); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is as it was in %s\n", args[0], args[1])
			return err
		})
}

// awaitJob waits for a job, and makes its failure an error.
func awaitJob(c *cobra.Command, api *client.Client, t tenant.ID, alias, id string) (tenant.Job, error) {
	j, err := api.AwaitJob(c.Context(), t, alias, id)
	if err == nil && j.State == tenant.JobFailed {
		err = fmt.Errorf("the %s failed: %s", j.Kind, j.Error)
	}
	return j, err
}

func newServiceList() *cobra.Command {
	return serviceCommand("list ALIAS", "List the backups and restores of a service, the oldest first",
		"List the backups and restores of a service, the oldest first, with what became of them.",
		"list db", oneArgument("the ALIAS of a subscription"),
		func(c *cobra.Command, api *client.Client, t tenant.ID, args []string) error {
			all, err := api.ServiceJobs(c.Context(), t, args[0])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tSTATE\tBYTES\tASKED")
			for _, j := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", j.ID, j.Kind, j.State, j.Size, j.Asked.Format(time.RFC3339))
			}
			return w.Flush()
		})
}

func newServiceRemove() *cobra.Command {
	return serviceCommand("remove ALIAS BACKUP", "Remove a backup, or give up one that waits",
		"Remove a backup, or give up one that waits.",
		"remove db 20261124T101500.000Z-abcdef", twoArguments("the ALIAS of a subscription, and the name of a BACKUP"),
		func(c *cobra.Command, api *client.Client, t tenant.ID, args []string) error {
			return api.RemoveBackup(c.Context(), t, args[0], args[1])
		})
}

func newServiceDownload() *cobra.Command {
	var file string
	c := serviceCommand("download ALIAS BACKUP -o FILE", "Copy a backup into a file",
		"Copy a backup into a file, which only you can read. One that is there is not touched.",
		"download db 20261124T101500.000Z-abcdef -o db.sql", twoArguments("the ALIAS of a subscription, and the name of a BACKUP"),
		func(c *cobra.Command, api *client.Client, t tenant.ID, args []string) (err error) {
			if file == "" {
				return errors.New("say into which file: -o FILE")
			}
			out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			err = api.Download(c.Context(), t, args[0], args[1], io.Writer(out))
			if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
				return errors.Join(err, os.Remove(file))
			}
			return nil
		})
	c.Flags().StringVarP(&file, "output", "o", "", "the `file`, which must not be there yet")
	return c
}
