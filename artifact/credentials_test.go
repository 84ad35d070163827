package artifact_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gostratos/stratos/artifact"
)

// newKey makes a private key, as ssh-keygen would write it, and its public half.
func newKey(t testing.TB, passphrase string) (private string, public ssh.PublicKey) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	require.NoError(t, err)
	public, err = ssh.NewPublicKey(pub)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(block)), public
}

func TestCredentialsCheck(t *testing.T) {
	key, public := newKey(t, "")
	locked, _ := newKey(t, "hunter2")
	line := "host " + string(ssh.MarshalAuthorizedKey(public))
	type creds = artifact.Credentials
	for _, c := range []struct {
		name    string
		creds   creds
		url     string
		refused string // words of the error; empty: allowed
	}{
		{"none for anything", creds{}, "git://host/path", ""},
		{"none for a folder", creds{}, artifact.Dir("/srv"), ""},
		{"password", creds{User: "u", Password: "hunter2"}, "https://host/path", ""},
		{"token", creds{Password: "hunter2"}, "https://host/path", ""},
		{"upper-case scheme", creds{Password: "hunter2"}, "HTTPS://host/path", ""},
		{"plain http to this machine", creds{Password: "hunter2"}, "http://127.0.0.1:80/path", ""},
		{"plain http to this machine, v6", creds{Password: "hunter2"}, "http://[::1]:80/path", ""},
		{"plain http to this machine, by name", creds{Password: "hunter2"}, "http://localhost/path", ""},
		{"key", creds{Key: key}, "ssh://git@host/path", ""},
		{"key, short form", creds{Key: key, HostKeys: line}, "git@host:path", ""},
		{"key with line ends of another system", creds{Key: strings.ReplaceAll(key, "\n", "\r\n")}, "git@host:path", ""},
		{"key without the last line end", creds{Key: strings.TrimSpace(key)}, "git@host:path", ""},
		{"host keys only", creds{HostKeys: "# a comment\n\n" + line + line}, "git@host:path", ""},

		{"plain http", creds{Password: "hunter2"}, "http://host/path", "https"},
		{"plain http to a name that begins well", creds{Password: "hunter2"}, "http://localhost.example.org/path", "https"},
		{"plain http to an address that begins well", creds{Password: "hunter2"}, "http://127.0.0.1.example.org/path", "https"},
		{"user without a password", creds{User: "hunter2"}, "https://host/path", "no password"},
		{"user with a colon", creds{User: "hunter2:x", Password: "hunter2"}, "https://host/path", "colon"},
		{"password with a line break", creds{Password: "hunter2\nhost=evil"}, "https://host/path", "line break"},
		{"user with a NUL", creds{User: "hunter2\x00", Password: "x"}, "https://host/path", "control"},
		{"key for https", creds{Key: key}, "https://host/path", "for ssh"},
		{"host keys for https", creds{Password: "hunter2", HostKeys: line}, "https://host/path", "for ssh"},
		{"password for ssh", creds{Password: "hunter2"}, "git@host:path", "take a key"},
		{"key and password for ssh", creds{Key: key, Password: "hunter2"}, "ssh://git@host/path", "take a key"},
		{"key with a passphrase", creds{Key: locked}, "git@host:path", "passphrase"},
		{"public key", creds{Key: string(ssh.MarshalAuthorizedKey(public))}, "git@host:path", "no private key"},
		{"no key at all", creds{Key: "hunter2"}, "git@host:path", "no private key"},
		{"no host keys", creds{HostKeys: "hunter2"}, "git@host:path", "known_hosts"},
		{"git", creds{Password: "hunter2"}, "git://host/path", "https and ssh"},
		{"folder", creds{Password: "hunter2"}, artifact.Dir("/srv"), "https and ssh"},
		{"no URL", creds{Password: "hunter2"}, "https://hunter2:%zz@host", "https and ssh"},
		{"endless", creds{Password: strings.Repeat("hunter2", 10_000)}, "https://host/path", "65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.creds.Check(c.url)
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, artifact.ErrCredentials)
			require.ErrorContains(t, err, c.refused)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "PRIVATE KEY")
		})
	}
}

func TestCredentialsAreNeverShown(t *testing.T) {
	secret := artifact.Credentials{User: "hunter2", Password: "hunter2", Key: "hunter2", HostKeys: "hunter2"}
	wish := artifact.Wish{URL: "https://host/path", Credentials: secret}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U"} {
		for _, v := range []any{secret, &secret, wish, &wish, []artifact.Wish{wish}, map[artifact.Credentials]artifact.Wish{secret: wish}} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
	}
	fmt.Fprintln(&shown, secret, wish, secret.String(), secret.GoString())
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "credentials", secret, slog.Any("pointer", &secret), "wish", wish)
	}
	for _, s := range []string{shown.String(), log.String()} {
		require.NotContains(t, s, "hunter2")
		require.NotContains(t, s, fmt.Sprintf("%x", "hunter2"))
		require.NotContains(t, s, fmt.Sprintf("%X", "hunter2"))
		require.Contains(t, s, "credentials (user, password, key, host keys)")
	}
	require.Equal(t, "no credentials", artifact.Credentials{}.String())
}

func TestCredentialsSurviveJSON(t *testing.T) {
	for _, c := range []artifact.Credentials{{}, {User: "u", Password: "p"}, {Key: "k\n", HostKeys: "h\n"}} {
		b, err := json.Marshal(c)
		require.NoError(t, err)
		var back artifact.Credentials
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, c, back)
	}
}

func FuzzCredentialsCheck(f *testing.F) {
	key, public := newKey(f, "")
	line := "host " + string(ssh.MarshalAuthorizedKey(public))
	f.Add("u", "p", "", "", "https://host/path")
	f.Add("", "", key, line, "git@host:path")
	f.Add("", "p\n", "", "@cert-authority x", "http://[::1]/x")
	f.Fuzz(func(t *testing.T, user, password, key, hosts, url string) {
		c := artifact.Credentials{User: user, Password: password, Key: key, HostKeys: hosts}
		if err := c.Check(url); err != nil {
			require.ErrorIs(t, err, artifact.ErrCredentials)
			return
		}
		if password != "" {
			require.NotContains(t, user+password, "\n")
			require.Regexp(t, `(?i)^https?://`, url)
		}
	})
}
