package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
)

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

// token reads the secret; it is never an argument, which everybody could see.
func (f *controlFlags) token() (string, error) {
	if len(f.urls) == 0 {
		return "", errors.New("no control plane: give --control URL, for example --control https://10.0.0.1:8080")
	}
	if f.tokenFile == "" {
		return "", errors.New("no token: give --token-file FILE")
	}
	text, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--token-file: %s is empty", f.tokenFile)
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
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: %s holds no certificate", f.authority)
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
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		c.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}}
	}
	return c, nil
}
