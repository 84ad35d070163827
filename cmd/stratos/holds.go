package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/topology"
)

// Kinds of what waits for an operator.
const (
	holdReplacements = "replacements"
	holdOrphans      = "orphans"
)

// holds is what waits for an operator, as the API tells it at holdsPath.
type holds struct {
	// Replacements are members that lost their health, and are not replaced:
	// too many did at a time.
	Replacements []topology.MemberID `json:"replacements"`
	// Orphans are instances that belong to no member, and are not ended: too
	// many, or launched before a backup was restored.
	Orphans []struct {
		Account  string    `json:"account"`
		Instance string    `json:"instance"`
		Name     string    `json:"name"`
		Launched time.Time `json:"launched"`
	} `json:"orphans"`
	// Refusals count what was asked of members and is not in the table of a
	// member's life. They wait for nobody; many are a fault of ours.
	Refusals []struct {
		From  topology.State `json:"from"`
		To    topology.State `json:"to"`
		Count int64          `json:"count"`
	} `json:"refusals"`
}

const holdsPath = "/v1/holds"

func newHolds() *cobra.Command {
	var control controlFlags
	c := &cobra.Command{
		Use:   "holds --control URL --token-file FILE",
		Short: "List what the control plane does not do before an operator agrees",
		Long: `List what the control plane does not do before an operator agrees.

replacements  Members that lost their health, and are not replaced, because too
              many were within five minutes: more than 5, and more than 10 % of
              all. More likely than that all of them failed is that a network
              did, and that they still serve. Look at them first.
orphans       Instances that belong to no member, and are not ended, because
              there are more than 5 and more than 5 % of all, or because a
              backup was restored that does not know them. They may serve what
              was lost with the backup. Look at them first.

Lines that begin with "refused" wait for nobody: they count the transitions that
are not in a member's life and were asked for all the same.`,
		Example: `  stratos holds --control http://127.0.0.1:8080 --token-file stratos.data/admin.token
  stratos holds release orphans --control http://127.0.0.1:8080 --token-file stratos.data/admin.token`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := control.client()
			if err != nil {
				return err
			}
			var h holds
			if err := api.Do(c.Context(), http.MethodGet, holdsPath, nil, &h); err != nil {
				return control.explain(err)
			}
			return h.write(c.OutOrStdout())
		},
	}
	control.register(c, adminToken)
	c.AddCommand(newHoldsRelease())
	return c
}

func newHoldsRelease() *cobra.Command {
	var control controlFlags
	kinds := []string{holdReplacements, holdOrphans}
	c := &cobra.Command{
		Use:   "release {replacements|orphans} --control URL --token-file FILE",
		Short: "Agree, as an operator: let the control plane go on with what it holds back",
		Long: `Agree, as an operator: let the control plane go on with what it holds back.

replacements  The members that are held are replaced now, and so is what fails
              within the next ten minutes, without limit.
orphans       The instances that are held are ended within the next ten minutes:
              5 in every sweep, or 5 % of all. What they serve is gone with them.
              Are some left, agree again.

It cannot be taken back. "stratos holds" lists what it is about: look at that first.`,
		Example:   "  stratos holds release orphans --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		ValidArgs: kinds,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(kinds, args[0]) {
				return fmt.Errorf("say what to release: %s; see \"%s --help\"", strings.Join(kinds, " or "), c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			api, err := control.client()
			if err != nil {
				return err
			}
			if err := api.Post(c.Context(), holdsPath+"/"+args[0]+"/release", nil, nil); err != nil {
				return control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s may go on, for ten minutes; \"stratos holds\" shows what still waits\n", args[0])
			return err
		},
	}
	control.register(c, adminToken)
	return c
}

// write lists, for people and for grep: one thing a line, its kind first.
func (h holds) write(w io.Writer) error {
	var b strings.Builder
	for _, m := range h.Replacements {
		fmt.Fprintf(&b, "%s  member %s\n", holdReplacements, m)
	}
	for _, o := range h.Orphans {
		fmt.Fprintf(&b, "%s  account %s  instance %s  name %s  launched %s\n", holdOrphans, o.Account, o.Instance, o.Name, o.Launched.UTC().Format(time.RFC3339))
	}
	if b.Len() == 0 {
		b.WriteString("nothing waits for an operator\n")
	}
	for _, r := range h.Refusals {
		fmt.Fprintf(&b, "refused  from %s to %s  %d times\n", r.From, r.To, r.Count)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
