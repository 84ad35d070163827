package stratos_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/tenant"
)

// testConfigAt is the flavour of the control planes that are killed.
func testConfigAt(dir, listen, api string) stratos.Config {
	return stratos.Config{
		Name: "test", Dir: dir, Listen: listen, API: api,
		Cartridges: []cartridge.Type{proc.Type{}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
		Poll:       time.Hour, Boot: time.Minute, Drain: 5 * time.Second,
	}
}

func runControl(ctx context.Context, cfg stratos.Config) error {
	p, err := stratos.New(cfg)
	if err != nil {
		return err
	}
	return errors.Join(p.Run(ctx), p.Close())
}

// prepare makes a data folder with a subscription, before anything runs.
func prepare(t *testing.T, args controlArgs, sub tenant.Subscription) {
	t.Helper()
	p, err := stratos.New(testConfigAt(args.Dir, args.Listen, args.API))
	require.NoError(t, err)
	require.NoError(t, p.Subscribe(t.Context(), sub))
	require.NoError(t, p.Close())
}

// endAll ends what a control plane that was killed left behind.
func endAll(t *testing.T, args controlArgs) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := stratos.New(testConfigAt(args.Dir, args.Listen, args.API))
	require.NoError(t, err)
	require.NoError(t, p.Shutdown(ctx))
	require.NoError(t, p.Close())
}
