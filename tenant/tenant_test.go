package tenant_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/tenant"
)

func TestDefaultsOfASubscription(t *testing.T) {
	for _, c := range []struct {
		name                 string
		lo, hi, wantLo, want int
	}{
		{"nothing said", 0, 0, 1, 1},
		{"only a minimum", 3, 0, 3, 3},
		{"only a maximum: it may sleep", 0, 4, 0, 4},
		{"both", 2, 5, 2, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tenant.Subscription{Alias: "shop", Cartridge: "php", Min: c.lo, Max: c.hi}.WithDefaults()
			require.Equal(t, [2]int{c.wantLo, c.want}, [2]int{s.Min, s.Max})
			require.Equal(t, tenant.Default, s.Tenant)
			require.Equal(t, tenant.Schema, s.V)
			require.NoError(t, s.Check())
		})
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := tenant.Subscription{Alias: "shop", Cartridge: "php", Min: 1, Max: 2}.WithDefaults()
	require.NoError(t, good.Check())
	for _, c := range []struct {
		name   string
		change func(*tenant.Subscription)
		says   string
	}{
		{"no cartridge", func(s *tenant.Subscription) { s.Cartridge = "" }, "no cartridge"},
		{"no alias", func(s *tenant.Subscription) { s.Alias = "" }, `alias ""`},
		{"alias with a dot", func(s *tenant.Subscription) { s.Alias = "a.b" }, `alias "a.b"`},
		{"alias that leaves its folder", func(s *tenant.Subscription) { s.Alias = "../x" }, `alias "../x"`},
		{"tenant in capitals", func(s *tenant.Subscription) { s.Tenant = "ACME" }, `tenant "ACME"`},
		{"negative minimum", func(s *tenant.Subscription) { s.Min = -1 }, "minimum -1"},
		{"maximum below the minimum", func(s *tenant.Subscription) { s.Max = 0 }, "maximum 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.change(&s)
			err := s.Check()
			require.ErrorIs(t, err, tenant.ErrInvalid)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func FuzzCheckLabel(f *testing.F) {
	for _, s := range []string{"a", "shop-2", "-a", "a-", "A", "", "a.b", "a/b", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tenant.CheckLabel("alias", s) != nil {
			return
		}
		require.Regexp(t, `^[a-z][a-z0-9-]*$`, s)
		require.LessOrEqual(t, len(s), 40)
		require.NotEqual(t, byte('-'), s[len(s)-1])
	})
}

func ExampleSubscription() {
	s := tenant.Subscription{Alias: "shop", Cartridge: "php", Max: 4}.WithDefaults()
	fmt.Println(tenant.SubscriptionKey(s.Tenant, s.Alias), s.Min, s.Max, s.Check())
	// Output: subscriptions/default/shop 0 4 <nil>
}
