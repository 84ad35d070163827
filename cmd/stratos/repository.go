package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/tenant"
)

func newRepository() *cobra.Command {
	c := &cobra.Command{
		Use:   "repository",
		Short: "Show where to push to, for a subscription without a repository of its own",
		Long: `Show where to push to. A subscription that names no repository has one here:
"git push" builds what is pushed, puts it to work, and is refused if that does
not come up; until then, and after that, what ran before goes on.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRepositoryShow(), newRepositoryRenew())
	return c
}

func newRepositoryShow() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:   "show ALIAS --control URL --token-file FILE",
		Short: "Print the URL of a subscription's repository, and its password",
		Long: `Print the URL of a subscription's repository, and its password, for git to be
told when it asks. Whoever has it can push to this repository, and read it, and
no more. The user name can be any.`,
		Example: "  stratos repository show shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			repo, err := api.HostedRepository(c.Context(), tenant.ID(f.tenant), args[0])
			if err != nil {
				return f.control.explain(err)
			}
			scheme, host, _ := strings.Cut(strings.TrimSuffix(f.control.urls[0], "/"), "://")
			_, err = fmt.Fprintf(c.OutOrStdout(), "URL       %[1]s://%[2]s%[3]s\nuser      %[4]s\npassword  %[5]s\n\n"+
				"  git remote add stratos %[1]s://%[4]s@%[2]s%[3]s\n  git push stratos main\n", scheme, host, repo.Path, repo.User, repo.Password)
			return err
		},
	}
	f.register(c)
	return c
}

func newRepositoryRenew() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:     "renew ALIAS --control URL --token-file FILE",
		Short:   "Give a subscription's repository another password: the former one is refused at once",
		Example: "  stratos repository renew shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.RenewPushSecret(c.Context(), tenant.ID(f.tenant), args[0]); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the repository of %s has another password: \"stratos repository show %s\" prints it\n", args[0], args[0])
			return err
		},
	}
	f.register(c)
	return c
}
