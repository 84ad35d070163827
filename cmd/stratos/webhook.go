package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/tenant"
)

// subscriptionFlags say which control plane is asked, and about whose subscriptions.
type subscriptionFlags struct {
	control controlFlags
	tenant  string
}

func (f *subscriptionFlags) register(c *cobra.Command) {
	f.control.register(c, adminToken)
	c.Flags().StringVar(&f.tenant, "tenant", string(tenant.Default), "the `tenant` whose subscription it is")
}

func newWebhook() *cobra.Command {
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Show where the host of a repository says that somebody has pushed",
		Long: `Show where the host of a repository (GitHub, or a script) says that
somebody has pushed, so that the new commit runs at once rather than at the next
look at the repository. What is sent is signed with the webhook's secret.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newWebhookShow(), newWebhookRenew())
	return c
}

func newWebhookShow() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:   "show ALIAS --control URL --token-file FILE",
		Short: "Print the URL and the secret of a subscription's webhook",
		Long: `Print the URL and the secret of a subscription's webhook: what GitHub calls payload
URL and secret. Either content type will do, and the event is the push.

Whoever has the secret can make the platform look at the repository, and no more.`,
		Example: "  stratos webhook show shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			hook, err := api.Webhook(c.Context(), tenant.ID(f.tenant), args[0])
			if err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "URL     %s%s\nsecret  %s\n", strings.TrimSuffix(f.control.urls[0], "/"), hook.Path, hook.Secret)
			return err
		},
	}
	f.register(c)
	return c
}

func newWebhookRenew() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:     "renew ALIAS --control URL --token-file FILE",
		Short:   "Give a subscription's webhook another secret: the former one is refused at once",
		Example: "  stratos webhook renew shop --control http://127.0.0.1:8080 --token-file stratos.data/admin.token",
		Args:    oneArgument("the ALIAS of a subscription"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.RenewWebhook(c.Context(), tenant.ID(f.tenant), args[0]); err != nil {
				return f.control.explain(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the webhook of %s has another secret: \"stratos webhook show %s\" prints it\n", args[0], args[0])
			return err
		},
	}
	f.register(c)
	return c
}

func newSwitch() *cobra.Command {
	var f subscriptionFlags
	c := &cobra.Command{
		Use:   "switch ALIAS REF --control URL --token-file FILE",
		Short: "Follow another branch or tag, or stay at one commit: this rolls back, too",
		Long: `Follow another branch or tag, or stay at one commit, given by its full hash: this
is how to roll back. A release that is kept (the last five, and all that run)
needs no repository to go back to. No request fails meanwhile, and a commit that
does not come up leaves what runs alone.

REF "" is the repository's default branch.`,
		Example: `  stratos switch shop 3f786850e387550fdab836ed7e6dc881de23001b --control http://127.0.0.1:8080 --token-file stratos.data/admin.token
  stratos switch shop main --control http://127.0.0.1:8080 --token-file stratos.data/admin.token`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("say which subscription, and the branch, tag or commit; see \"%s --help\"", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			api, err := f.control.client()
			if err != nil {
				return err
			}
			if err := api.Switch(c.Context(), tenant.ID(f.tenant), args[0], args[1]); err != nil {
				return f.control.explain(err)
			}
			to := args[1]
			if to == "" {
				to = "the default branch"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s follows %s\n", args[0], to)
			return err
		},
	}
	f.register(c)
	return c
}
