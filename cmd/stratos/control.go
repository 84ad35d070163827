package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/internal/ca"
)

// adminToken is which token a command needs, in the words of its help.
const adminToken = "an administrator's token: admin.token in the data folder"

// dialTimeout is how long a replica is tried before the next one is.
const dialTimeout = 10 * time.Second

// controlFlags say how a command reaches the control plane.
type controlFlags struct {
	urls                 []string
	tokenFile, authority string
}

func (f *controlFlags) register(c *cobra.Command, token string) {
	c.Flags().StringSliceVar(&f.urls, "control", nil, "`URL`s of the control plane's replicas, separated by commas")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "the `file` that holds "+token)
	c.Flags().StringVar(&f.authority, "ca", "", "the `file` that an https control plane is verified with: ca.pem in its data folder")
}

// check refuses addresses that cannot be those of a control plane. What has a
// password is not repeated.
func (f *controlFlags) check() error {
	if len(f.urls) == 0 {
		return errors.New("no control plane: give --control URL, for example --control https://10.0.0.1:8080")
	}
	for _, text := range f.urls {
		u, err := url.Parse(text)
		switch {
		case err == nil && u.User != nil:
			return errors.New("--control: an address has no credentials: write --token-file FILE instead of what stands before the @")
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("--control %q is no address of a control plane: write one like https://10.0.0.1:8080", text)
		case u.Scheme == "http" && !loopback(u.Hostname()):
			return fmt.Errorf("--control %s: off loopback a control plane speaks https: write https://%s", text, u.Host)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// token reads the secret; it is never an argument, which everybody could see.
func (f *controlFlags) token() (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	if f.tokenFile == "" {
		return "", errors.New("no token: give --token-file FILE")
	}
	text, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	switch {
	case token == "":
		return "", fmt.Errorf("--token-file: %s is empty", f.tokenFile)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("--token-file: %s holds no token: a token is one word, alone in its file", f.tokenFile)
	}
	return token, nil
}

// roots reads what the control plane is verified with; nil: the system's.
func (f *controlFlags) roots() ([]byte, error) {
	if f.authority == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.authority)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if _, err := ca.Pool(text); err != nil {
		return nil, fmt.Errorf("--ca: %s: %w", f.authority, err)
	}
	return text, nil
}

// client makes calls with the token.
func (f *controlFlags) client() (*client.Client, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	c := &client.Client{URLs: f.urls, Token: token, HTTP: &http.Client{}}
	if roots != nil {
		pool, err := ca.Pool(roots)
		if err != nil {
			return nil, err
		}
		c.HTTP.Transport = &http.Transport{
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool},
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
		}
	}
	return c, nil
}

// explain adds the cure to what went wrong with a call.
func (f *controlFlags) explain(err error) error {
	var answer *client.Error
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var dial *net.OpError
	cure := ""
	switch {
	case errors.As(err, &answer):
		cure = cureForAnswer(answer, f.tokenFile)
	case errors.As(err, &unknown) && f.authority == "":
		cure = "give --ca FILE: ca.pem in the control plane's data folder"
	case errors.As(err, &unknown):
		cure = f.authority + " is not of this control plane: copy ca.pem from its data folder"
	case errors.As(err, &name):
		cure = "write the address in --control that the control plane is configured with (url)"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		cure = "it speaks plain http: write http:// in --control"
	case errors.As(err, &dial) && dial.Op == "dial":
		cure = "is serve running, and is --control where it answers (api in its configuration)?"
	}
	if cure == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, cure)
}

// cureForAnswer is what to do about an answer that is no success.
func cureForAnswer(e *client.Error, tokenFile string) string {
	switch {
	case e.Code == http.StatusUnauthorized:
		return tokenFile + " holds no token of this control plane, or one that was ended: see admin.token in its data folder"
	case e.Code == http.StatusForbidden:
		return tokenFile + " holds a token of another kind: this takes an administrator's, admin.token in the data folder"
	case e.Code == http.StatusBadRequest && strings.Contains(e.Text, "HTTPS server"):
		return "it speaks https: write https:// in --control, and --ca FILE"
	case e.Code == http.StatusServiceUnavailable:
		return "nobody leads at this moment, or the store is away: try again in some seconds"
	}
	return ""
}
