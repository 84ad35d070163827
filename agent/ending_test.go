package agent

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

func TestEndingHidesSecrets(t *testing.T) {
	secret := strings.Repeat("ab", 20)
	tests := []struct {
		name, text string
		secrets    []string
		want       string
	}{
		{"nothing", "", nil, ""},
		{"plain", " it failed\n", nil, "it failed"},
		{"a secret", "no " + secret + ", no", []string{secret}, "no ***, no"},
		{"one in another", "xabcx", []string{"ab", "abc"}, "x***x"},
		{"an empty one", "ab", []string{""}, "ab"},
		{"not UTF-8", "a\xffb", nil, "a\uFFFDb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e ending
			_, err := e.Write([]byte(tt.text))
			require.NoError(t, err)
			require.Equal(t, tt.want, e.String(tt.secrets))
		})
	}
}

// Wherever the text is cut, no rest of a secret is left.
func TestEndingHidesSecretsAtTheCut(t *testing.T) {
	const secret = "0123456789"
	for shift := range 2 * len(secret) {
		var e ending
		text := strings.Repeat("=", shift) + strings.Repeat(secret, keptEnding/len(secret)+2)
		_, err := e.Write([]byte(text))
		require.NoError(t, err)
		require.Len(t, e.text, keptEnding)
		got := e.String([]string{secret})
		require.Empty(t, strings.Trim(strings.TrimPrefix(got, "... "), "*=0123456789"))
		for n := len(secret); n > 0; n-- {
			require.NotContains(t, got, secret[len(secret)-n:]+"*", "shift %d", shift)
		}
		require.LessOrEqual(t, len(got), shownEnding+len("... "))
	}
}

func TestConfidential(t *testing.T) {
	r := &running{site: site{
		layout: layout{Secrets: map[string]string{"root": "r00t"}},
		env:    map[string]string{"DEBUG": "1", "TOKEN": "token-of-eight", "URL": "mysql://u:pw@h/d"},
	}}
	require.ElementsMatch(t, []string{"r00t", "token-of-eight", "mysql://u:pw@h/d", "pw", "p"}, r.confidential(&cartridge.Binding{User: "u", Password: "p"}))
}

func FuzzEnding(f *testing.F) {
	f.Add("no secret here", "secret")
	f.Add(strings.Repeat("é", keptEnding), "é")
	f.Add("\xff\xfe", "\xff")
	f.Fuzz(func(t *testing.T, text, secret string) {
		var e ending
		_, err := e.Write([]byte(text))
		require.NoError(t, err)
		got := e.String([]string{secret})
		require.True(t, utf8.ValidString(got))
		if len(secret) > len("... ***") && utf8.ValidString(secret) && !strings.ContainsAny(secret, "*\uFFFD") {
			require.NotContains(t, got, secret)
		}
	})
}
