package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/tenant"
)

func newToken() *cobra.Command {
	var control controlFlags
	c := &cobra.Command{
		Use:   "token {admin|balancer} NAME --control URL --token-file FILE",
		Short: "Make a token, and print its secret, which is nowhere else; list and end tokens",
		Long: `Make a token, and print its secret, which is nowhere else: keep it in a file of
mode 600. NAME says whose it is, for people who look at the list of tokens.

admin     may do everything
balancer  may read the topology, and say what a balancer sees`,
		Example: `  (umask 077; stratos token balancer edge --control http://127.0.0.1:8080 --token-file stratos.data/admin.token > edge.token)
  stratos token list --control http://127.0.0.1:8080 --token-file stratos.data/admin.token`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] != string(tenant.TokenAdmin) && args[0] != string(tenant.TokenBalancer) {
				return fmt.Errorf("say which kind of token, admin or balancer, and whose, or list or end; see \"%s --help\"", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			api, err := control.client()
			if err != nil {
				return err
			}
			secret, err := api.NewToken(c.Context(), tenant.TokenKind(args[0]), args[1])
			if err != nil {
				return control.explain(err)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), secret)
			return err
		},
	}
	control.register(c, adminToken)
	c.AddCommand(newTokenList(), newTokenEnd())
	return c
}

func newTokenList() *cobra.Command {
	var control controlFlags
	c := &cobra.Command{
		Use:   "list --control URL --token-file FILE",
		Short: "List the tokens, the oldest first, without their secrets",
		Long: `List the tokens, the oldest first, without their secrets.

ID       what "stratos token end" takes; it is no secret
KIND     what its bearer may do: admin everything, balancer what a balancer needs
NAME     whose it is. A token that a serve made for its administrator, into
         admin.token of its data folder, is called admin, or by the serve's URL
         if there are several.

A token has no date at which it ends: it is good until somebody ends it.`,
		Example: "  stratos token list --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := control.client()
			if err != nil {
				return err
			}
			tokens, err := api.Tokens(c.Context())
			if err != nil {
				return control.explain(err)
			}
			return writeTokens(c.OutOrStdout(), tokens, tenant.IDOfToken(api.Token))
		},
	}
	control.register(c, adminToken)
	return c
}

// writeTokens lists tokens in columns; own is the one that the command bears.
func writeTokens(w io.Writer, tokens []client.Token, own tenant.TokenID) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tNAME\tMADE") // Flush says what went wrong
	for _, k := range tokens {
		made := k.Created.UTC().Format(time.RFC3339)
		if k.ID == own {
			made += "  (in use by this command)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Name, made)
	}
	return t.Flush()
}

func newTokenEnd() *cobra.Command {
	var control controlFlags
	c := &cobra.Command{
		Use:   "end ID --control URL --token-file FILE",
		Short: "End a token: its bearer's next request is refused",
		Long: `End a token: its bearer's next request is refused, whichever control plane is
asked, and a topology that it follows ends. It cannot be taken back. ID is as in
"stratos token list".

The token that the command itself bears is not ended: nobody shall lock himself
out. To exchange the one of a data folder, delete its admin.token and start serve
again, which makes another and ends the former. Ending it here does not last:
serve records what its admin.token holds at each start.`,
		Example: "  stratos token end 73e95b1543de2855a425d8fb5b98b38c --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ID of a token (\"stratos token list\" shows it)"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := tenant.ParseTokenID(args[0])
			if err != nil {
				return fmt.Errorf("%w; \"stratos token list\" shows it", err)
			}
			api, err := control.client()
			if err != nil {
				return err
			}
			if id == tenant.IDOfToken(api.Token) {
				return fmt.Errorf("token %s is the one in %s, which this command bears: end it with another administrator's token, or, if it is the one of a data folder, delete admin.token there and start serve again", id, control.tokenFile)
			}
			ended, err := api.EndToken(c.Context(), id)
			if err != nil {
				return explainEnd(&control, id, err)
			}
			return writeEnded(c.OutOrStdout(), ended)
		},
	}
	control.register(c, adminToken)
	return c
}

func explainEnd(control *controlFlags, id tenant.TokenID, err error) error {
	var answer *client.Error
	if errors.As(err, &answer) && answer.Code == http.StatusNotFound {
		return fmt.Errorf("there is no token %s, or it has ended: \"stratos token list\" shows those that are good", id)
	}
	return control.explain(err)
}

// writeEnded says what was ended, and what brings it back.
func writeEnded(w io.Writer, t client.Token) error {
	text := fmt.Sprintf("token %s, %s %s, has ended\n", t.ID, t.Kind, t.Name)
	if t.Kind == tenant.TokenAdmin && (t.Name == "admin" || strings.Contains(t.Name, "://")) {
		text += "a serve made it: delete admin.token in its data folder, too, else its next start records it again\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
