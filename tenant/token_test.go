package tenant_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/tenant"
)

func TestTokenMatchesItsSecretAlone(t *testing.T) {
	secret, other := tenant.NewSecret(), tenant.NewSecret()
	token := tenant.NewToken(secret, tenant.TokenBalancer, "edge", time.Now())
	require.True(t, token.Matches(secret))
	for _, wrong := range []string{other, "", secret[1:], secret + "x", string(tenant.IDOfToken(secret))} {
		require.False(t, token.Matches(wrong), "%q", wrong)
	}
	require.False(t, tenant.Token{}.Matches(""), "a record without a hash lets nobody in")
	require.NotContains(t, fmt.Sprintf("%+v %s", token, tenant.TokenKey(secret)), secret)
	require.NotEqual(t, tenant.IDOfToken(secret), tenant.IDOfToken(other))
	require.NotContains(t, fmt.Sprintf("%x", token.Hash), string(tenant.IDOfToken(secret)), "the id tells a part of the hash")
}

// TestTokenIDStays: ids are keys in stores that exist.
func TestTokenIDStays(t *testing.T) {
	require.Equal(t, "tokens/73e95b1543de2855a425d8fb5b98b38c", tenant.TokenKey("a-secret"))
}

func TestParseTokenID(t *testing.T) {
	good := string(tenant.IDOfToken("a-secret"))
	id, err := tenant.ParseTokenID(good)
	require.NoError(t, err)
	require.Equal(t, tenant.TokenKey("a-secret"), id.Key())
	for _, c := range []struct{ name, text string }{
		{"nothing", ""},
		{"cut", good[1:]},
		{"longer", good + "00"},
		{"capitals", strings.ToUpper(good)},
		{"a path", "../" + good[3:]},
		{"a secret", tenant.NewSecret()},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tenant.ParseTokenID(c.text)
			require.ErrorIs(t, err, tenant.ErrInvalid)
			if c.text != "" {
				require.NotContains(t, err.Error(), c.text, "it may be the secret")
			}
		})
	}
}

func FuzzParseTokenID(f *testing.F) {
	f.Add(string(tenant.IDOfToken("a-secret")))
	f.Add("")
	f.Add("../../x")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := tenant.ParseTokenID(text)
		if err != nil {
			require.Empty(t, id)
			return
		}
		require.Equal(t, text, string(id))
		require.Regexp(t, `^tokens/[0-9a-f]{32}$`, id.Key())
	})
}
