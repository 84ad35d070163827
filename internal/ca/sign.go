package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Server makes a key and a certificate for it, valid for the identity and for
// the names, each a DNS name or an IP address.
func (a *Authority) Server(names []string, id Identity, now time.Time) (tls.Certificate, error) {
	key, err := NewKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	id.Names = append(names[:len(names):len(names)], id.Names...)
	certPEM, err := a.sign(key.Public(), id, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	return pair(certPEM, key)
}

// Sign makes a certificate for the key of a request (PKCS #10, DER). The
// request proves that who asks has the key; all else that it says is passed
// over. The answer is a chain, PEM.
func (a *Authority) Sign(csrDER []byte, id Identity, now time.Time) (certPEM []byte, err error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("the certificate request cannot be read: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its key: %w", err)
	}
	return a.sign(csr.PublicKey, id, now)
}

func (a *Authority) sign(key crypto.PublicKey, id Identity, now time.Time) ([]byte, error) {
	if err := errors.Join(id.check(), checkKey(key)); err != nil {
		return nil, err
	}
	if err := current(a.certs[0], now); err != nil {
		return nil, fmt.Errorf("the platform's authority %w: bring a new one", err)
	}
	id.Platform = a.platform
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: id.Kind + " " + shorten(id.Name), Organization: []string{a.platform}},
		NotBefore:             latest(now.Add(-backdate), a.certs[0].NotBefore),
		NotAfter:              earliest(now.Add(Life), a.certs[0].NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{id.uri()},
	}
	for _, name := range id.names() {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certs[0], key, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s %s: %w", id.Kind, id.Name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// An authority that the operator brought may have constraints of its own.
	_, err = cert.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now, KeyUsages: template.ExtKeyUsage})
	if err != nil {
		return nil, fmt.Errorf("the authority %q may not sign for %s %s: %w", a.certs[0].Subject, id.Kind, id.Name, err)
	}
	return encodeCertificates(append([]*x509.Certificate{cert}, a.above()...)), nil
}

// above is what leads from a certificate of the authority to its root, without the root.
func (a *Authority) above() []*x509.Certificate {
	for i, c := range a.certs {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return a.certs[:i]
		}
	}
	return a.certs
}

// checkKey refuses keys that are too weak to be trusted.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize >= 256 {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return nil
		}
	}
	return errors.New("the key is too weak, or of a kind that is not known here: use ECDSA P-256")
}

// shorten fits a name into a subject, which may have 64 characters; the whole
// name stands in the URI.
func shorten(name string) string { return name[:min(len(name), 48)] }

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
