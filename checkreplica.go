package stratos

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// checkReplica refuses addresses and certificates that cannot work.
func (c Config) checkReplica() error {
	host, port, err := net.SplitHostPort(c.API)
	if err != nil || port == "" {
		return fmt.Errorf("API address %q: want host:port, for example 127.0.0.1:8080", c.API)
	}
	want := "https"
	if isLoopback(c.API) {
		want = "http"
	}
	errs := []error{}
	if ip := net.ParseIP(host); (host == "" || ip != nil && ip.IsUnspecified()) && (c.URL == "" || c.URL == "https://"+c.API) {
		errs = append(errs, fmt.Errorf("API address %s is every address of this machine: say with URL where others reach it, for example https://10.0.0.1:%s", c.API, port))
	}
	for _, u := range append([]string{c.URL}, c.Replicas...) {
		p, err := url.Parse(u)
		switch {
		case err != nil || p.Host == "" || p.Path != "" || p.User != nil:
			errs = append(errs, fmt.Errorf("replica %q: want its address and nothing else, for example https://10.0.0.1:8080", withoutUser(u)))
		case p.Scheme != want:
			errs = append(errs, fmt.Errorf("replica %q: the API at %s is %s", u, c.API, want))
		}
	}
	if (len(c.TLS.CACert) == 0) != (len(c.TLS.CAKey) == 0) {
		errs = append(errs, errors.New("TLS.CACert and TLS.CAKey belong together: give both, or none"))
	}
	if own := c.TLS.Certificate; own != nil {
		errs = append(errs, checkCertificate(own, c.TLS, c.URL))
	}
	return errors.Join(errs...)
}

// withoutUser is a URL that may be shown: a password in it is not.
func withoutUser(u string) string {
	if at := strings.LastIndex(u, "@"); at >= 0 {
		return "..." + u[at:]
	}
	return u
}

// checkCertificate refuses an API certificate that nobody would accept.
func checkCertificate(own *tls.Certificate, t TLS, apiURL string) error {
	if len(own.Certificate) == 0 {
		return errors.New("TLS.Certificate is empty")
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return fmt.Errorf("TLS.Certificate: %w", err)
	}
	key, ok := own.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("TLS.Certificate has no private key that can sign")
	}
	if pub, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return errors.New("TLS.Certificate and its private key do not belong together: give the key that the certificate was made for")
	}
	u, err := url.Parse(apiURL)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bytes.Join([][]byte{t.Roots, t.CACert}, []byte("\n")))
	between := x509.NewCertPool()
	for _, der := range own.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: u.Hostname(), Roots: roots, Intermediates: between})
	if err != nil {
		return fmt.Errorf("TLS.Certificate would be refused by instances and replicas that know TLS.Roots: %w", err)
	}
	return nil
}
