package artifact

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// ErrCredentials: the credentials cannot be used with the URL, or not at all.
// Nothing was sent to anybody.
var ErrCredentials = errors.New("credentials are not usable")

// DefaultUser is the user of a password or token that comes without one. Hosts
// that sign in with a token do not look at it.
const DefaultUser = "git"

// maxSecret is how long each part of credentials may be, bytes.
const maxSecret = 64 << 10

// Credentials open a private repository. The zero value is none. They are
// comparable. Neither fmt nor a log nor an error shows any of them; JSON does,
// so that they can be sealed and stored.
type Credentials struct {
	// User and Password are for http and https. A token is a Password.
	// Default of User: DefaultUser.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Key is for ssh: a private key in PEM, as ssh-keygen writes it, without a passphrase.
	Key string `json:"key,omitempty"`
	// HostKeys are for ssh: lines of known_hosts that say how the host proves
	// who it is. Default: the operator's known_hosts.
	HostKeys string `json:"hostKeys,omitempty"`
}

var (
	_ fmt.Formatter  = Credentials{}
	_ fmt.Stringer   = Credentials{}
	_ fmt.GoStringer = Credentials{}
	_ slog.LogValuer = Credentials{}
)

// String says which kinds of credentials there are, and never what they are.
func (c Credentials) String() string {
	var kinds []string
	for _, k := range []struct{ name, value string }{
		{"user", c.User}, {"password", c.Password}, {"key", c.Key}, {"host keys", c.HostKeys},
	} {
		if k.value != "" {
			kinds = append(kinds, k.name)
		}
	}
	if len(kinds) == 0 {
		return "no credentials"
	}
	return "credentials (" + strings.Join(kinds, ", ") + ")"
}

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format writes String, whatever the verb: %d would print the fields.
func (c Credentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, c.String()) // a fmt.State has no errors to give
}

// Check says whether the credentials can be used with the URL of a repository:
// a password for https, and for http to this machine only, because others on
// the way would read it; a key and host keys for ssh. No credentials fit every
// URL. The error wraps ErrCredentials and names the cure.
func (c Credentials) Check(url string) error {
	if c == (Credentials{}) {
		return nil
	}
	for _, s := range []string{c.User, c.Password, c.Key, c.HostKeys} {
		if len(s) > maxSecret {
			return badCredentials("a part of them has more than %d bytes", maxSecret)
		}
	}
	switch scheme, host := schemeAndHost(url); scheme {
	case "ssh":
		return c.checkSSH()
	case "https":
		return c.checkPassword()
	case "http":
		if !loopback(host) {
			return badCredentials("a password over plain http can be read by everybody on the way: use the https URL")
		}
		return c.checkPassword()
	}
	return badCredentials("only https and ssh URLs take any: change the URL, or leave them out")
}

func (c Credentials) checkPassword() error {
	switch {
	case c.Key != "" || c.HostKeys != "":
		return badCredentials("a key is for ssh URLs: give a user and a password or a token, or use ssh://git@host/path")
	case c.Password == "":
		return badCredentials("there is a user and no password: give a password or a token")
	case strings.Contains(c.User, ":"):
		return badCredentials("the user name has a colon, which nobody can sign in with")
	case strings.ContainsFunc(c.User+c.Password, unicode.IsControl):
		return badCredentials("the user or the password has a line break or another control character: take it out")
	}
	return nil
}

func (c Credentials) checkSSH() error {
	if c.User != "" || c.Password != "" {
		return badCredentials("ssh URLs take a key, no user and password: give a key, or use https://host/path")
	}
	if _, err := c.privateKey(); err != nil {
		return err
	}
	return c.checkHostKeys()
}

func (c Credentials) checkHostKeys() error {
	found := c.HostKeys == ""
	for rest := []byte(c.HostKeys); len(rest) > 0; found = true {
		var err error
		_, _, _, _, rest, err = ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) { // the rest is comments
			break
		}
		if err != nil {
			found = false
			break
		}
	}
	if !found {
		return badCredentials("the host keys are no lines of known_hosts: take them from ssh-keyscan, and compare them")
	}
	return nil
}

// privateKey parses Key; nil if there is none.
func (c Credentials) privateKey() (any, error) {
	if c.Key == "" {
		return nil, nil
	}
	key, err := ssh.ParseRawPrivateKey([]byte(c.Key))
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, badCredentials("the key has a passphrase, which nobody is there to type: take it off with ssh-keygen -p")
	case err != nil: // its text may repeat what was meant to be a key
		return nil, badCredentials("the key is no private key: give the whole file that ssh-keygen wrote, without .pub")
	}
	return key, nil
}

// signer is Key as something to sign in with; nil if there is none.
func (c Credentials) signer() (ssh.Signer, error) {
	key, err := c.privateKey()
	if key == nil || err != nil {
		return nil, err
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, badCredentials("the kind of the key is not supported: make an ed25519 key")
	}
	return s, nil
}

// user is User or its default.
func (c Credentials) user() string {
	if c.User == "" {
		return DefaultUser
	}
	return c.User
}

// knownHosts writes HostKeys into a file of its own, because they are read from
// files only; none, if they are the operator's. No secret is in it.
func (c Credentials) knownHosts() (files []string, remove func() error, err error) {
	if c.HostKeys == "" {
		return nil, func() error { return nil }, nil
	}
	f, err := os.CreateTemp("", "stratos-known-hosts-")
	if err != nil {
		return nil, nil, err
	}
	remove = func() error { return os.Remove(f.Name()) }
	_, err = f.WriteString(c.HostKeys)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return []string{f.Name()}, remove, nil
}

// schemeAndHost takes a URL apart; "" for what is none.
func schemeAndHost(raw string) (scheme, host string) {
	if scpLike.MatchString(raw) {
		_, rest, _ := strings.Cut(raw, "@")
		host, _, _ = strings.Cut(rest, ":")
		return "ssh", host
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", ""
	}
	return u.Scheme, u.Hostname()
}

// loopback reports whether host can be nothing but this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func badCredentials(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCredentials, fmt.Sprintf(format, args...))
}
