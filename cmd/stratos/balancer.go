package main

import (
	"github.com/spf13/cobra"

	"github.com/gostratos/stratos"
)

func newBalancer() *cobra.Command {
	var control controlFlags
	var b stratos.Balancer
	var level string
	c := &cobra.Command{
		Use:   "balancer --control URL --token-file FILE",
		Short: "Run a balancer in a process of its own, until SIGINT or SIGTERM",
		Long: `Run a balancer in a process of its own, until SIGINT or SIGTERM.

It follows the topology of a control plane, routes requests to its members and
tells it what it sees. While the whole control plane is away it goes on with the
last topology, which it keeps in its folder. Its token is made by

  stratos token balancer NAME --control URL --token-file stratos.data/admin.token`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if b.Token, err = control.token(); err != nil {
				return err
			}
			if b.CA, err = control.roots(); err != nil {
				return err
			}
			b.Control = control.urls
			if b.Log, err = newLog(c.ErrOrStderr(), level); err != nil {
				return err
			}
			b.Log.Info("balancer", "version", stratos.Version, "listen", b.Listen, "dir", b.Dir, "control", b.Control)
			return b.Run(c.Context())
		},
	}
	control.register(c, "a token of kind balancer")
	c.Flags().StringVar(&b.Listen, "listen", "127.0.0.1:8000", "where requests are taken, `host:port`")
	c.Flags().StringVar(&b.Dir, "dir", "balancer.data", "the `folder` for the last topology and the certificate")
	c.Flags().StringVar(&b.Name, "name", "", "what it is called, unique in its platform (default: the host's name and a random part)")
	c.Flags().StringVar(&level, "log-level", "info", "`level` from which on is logged: debug, info, warn or error")
	return c
}
