package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/tenant"
)

// maxCredential bounds what is read of a file.
const maxCredential = 1 << 20

func newCredentials() *cobra.Command {
	c := &cobra.Command{
		Use:   "credentials",
		Short: "Give a subscription what opens its private repository, or take it away",
		Long: `Give a subscription what opens its private repository, or take it away. It is
stored encrypted, goes to the host of the repository alone, and is never shown.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCredentialsPut(), newCredentialsRemove())
	return c
}

func newCredentialsPut() *cobra.Command {
	var f subscriptionFlags
	var user, password, key, hosts string
	c := &cobra.Command{
		Use:   "put ALIAS {--password-file FILE [--user USER] | --key-file FILE [--hosts-file FILE]} --control URL --token-file FILE",
		Short: "Give a subscription a password, a token or a key, in the place of what it had",
		Long: `Give a subscription a password, a token or a key, in the place of what it had. The
repository is looked at with it at once; whether its host takes it is in the
subscription's state (REPO_AUTH_FAILED if not).

https URLs take a password or a token, ssh URLs a private key without a passphrase.
How an ssh host proves who it is, is in a file of known_hosts lines (ssh-keyscan
makes them: compare them), or else in the known_hosts of whoever runs serve.`,
		Example: `  stratos credentials put shop --password-file github.token --control http://127.0.0.1:8080 --token-file stratos.data/admin.token
  stratos credentials put shop --key-file deploy_ed25519 --hosts-file known_hosts --control http://127.0.0.1:8080 --token-file stratos.data/admin.token`,
		Args: oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			if (password == "") == (key == "") {
				return errors.New("give --password-file FILE for an https URL, or --key-file FILE for an ssh URL")
			}
			with := artifact.Credentials{User: user}
			for _, part := range []struct {
				flag, file string
				into       *string
			}{{"--password-file", password, &with.Password}, {"--key-file", key, &with.Key}, {"--hosts-file", hosts, &with.HostKeys}} {
				if err := readCredential(part.flag, part.file, part.into); err != nil {
					return err
				}
			}
			with.Password = strings.TrimRight(with.Password, "\r\n") // of an editor
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.PutCredentials(c.Context(), tenant.ID(f.tenant), args[0], with); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s has other credentials\n", args[0])
			return err
		},
	}
	f.register(c)
	c.Flags().StringVar(&user, "user", "", "the `user` whose password it is; a token mostly needs none (default \""+artifact.DefaultUser+"\")")
	c.Flags().StringVar(&password, "password-file", "", "the `file` that holds a password or a token")
	c.Flags().StringVar(&key, "key-file", "", "the `file` that holds a private key, as ssh-keygen writes it")
	c.Flags().StringVar(&hosts, "hosts-file", "", "the `file` that holds the host's lines of known_hosts")
	return c
}

// readCredential reads a file that may be named. No error quotes it.
func readCredential(flag, path string, into *string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", flag, err)
	case len(strings.TrimSpace(string(text))) == 0:
		return fmt.Errorf("%s: %s is empty", flag, path)
	case len(text) > maxCredential:
		return fmt.Errorf("%s: %s has more than %d bytes", flag, path, maxCredential)
	}
	*into = string(text)
	return nil
}

func newCredentialsRemove() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:     "remove ALIAS --control URL --token-file FILE",
		Short:   "Take a subscription's credentials away",
		Example: "  stratos credentials remove shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.RemoveCredentials(c.Context(), tenant.ID(f.tenant), args[0]); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s has no credentials\n", args[0])
			return err
		},
	}
	f.register(c)
	return c
}
