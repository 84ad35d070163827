package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
)

func newSynchronise() *cobra.Command {
	var f subscriptionFlags
	wait := time.Minute
	c := &cobra.Command{
		Use:   "synchronise ALIAS --control URL --token-file FILE",
		Short: "Look at a subscription's repository now, and wait until what is new is served",
		Long: `Look at a subscription's repository now, rather than at the next poll, and wait
until what is new there is served by every member. It prints the commit that each
member serves. A repository that cannot be read, a commit that is refused, and
the end of the time are errors.`,
		Example: "  stratos synchronise shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			s, err := api.Synchronise(c.Context(), tenant.ID(f.tenant), args[0], wait)
			if err != nil {
				return f.control.explain(err)
			}
			return showSynchronised(c, args[0], s, wait)
		},
	}
	f.register(c)
	c.Flags().DurationVar(&wait, "wait", wait, "how long to wait, at most 10m")
	return c
}

func showSynchronised(c *cobra.Command, alias string, s client.Synchronised, wait time.Duration) error {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	if s.Head != "" {
		fmt.Fprintf(w, "head\t%s\n", s.Head)
	}
	for _, m := range s.Members {
		serves := m.Revision
		if serves == "" {
			serves = "nothing yet"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.Member, serves, m.State)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case s.Error != "":
		return fmt.Errorf("%s: %s", s.Problem, s.Error)
	case s.Refused != "":
		return fmt.Errorf("the head is not served: %s", s.Refused)
	case s.Waits != "" && !s.Settled:
		return fmt.Errorf("%s waits for %s", alias, s.Waits)
	case !s.Settled:
		return fmt.Errorf("the head is not served by all after %s: look again, or see \"stratos logs %s\"", wait, alias)
	}
	return nil
}
