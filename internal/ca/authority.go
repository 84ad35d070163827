// Package ca is a platform's own certificate authority, small and whole: it
// makes certificates for the platform's replicas, balancers and members,
// renews them, and seals its key.
//
// # Who somebody is
//
// An [Identity] stands in a certificate as a URI, stratos://platform/kind/name.
// The authority writes it there, never who asks: of a request it takes nothing
// but the key. Every certificate may be used by servers and clients alike; it
// is the kind, not the usage, that says what its holder may do.
//
// A member is besides the DNS name that [MemberName] returns, so that who
// dials its address verifies with crypto/tls alone that it is this member.
//
// # How long
//
// Certificates live for [Life] and are renewed at the half of it, by a
// [Keeper]; they begin an hour before they are made, for clocks that are late.
// There are no revocation lists: whom the platform has let go of loses its
// routes at once, and its certificate within that time.
package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// Life is how long a certificate is valid, unless its authority ends before.
	Life = 30 * 24 * time.Hour
	// authorityLife is how long an authority that [New] made is valid.
	authorityLife = 10 * 365 * 24 * time.Hour
	// backdate is how long before it is made a certificate begins.
	backdate = time.Hour
)

// Authority signs certificates. It is immutable; its methods may be called
// concurrently.
type Authority struct {
	certs    []*x509.Certificate // the authority's own, then who signed it, if the operator told
	key      crypto.Signer
	platform string
}

// New makes an authority with a key of its own, for a platform of this name.
func New(name string, now time.Time) (*Authority, error) {
	if name == "" {
		return nil, errors.New("an authority needs the name of its platform")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, OrganizationalUnit: []string{"Stratos"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs no other authority
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certs: []*x509.Certificate{cert}, key: key, platform: platformOf(cert)}, nil
}

// Load takes an authority from PEM, one that [Authority.PEM] returned or one
// that the operator brings: its certificate, after which may come those that
// lead to its root, and its key, not encrypted. The certificate must be valid
// now. Who verifies trusts the authority itself, not its root.
func Load(certPEM, keyPEM []byte) (*Authority, error) {
	certs, err := parseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	if err := checkAuthority(certs, time.Now()); err != nil {
		return nil, err
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	if !sameKey(key.Public(), certs[0].PublicKey) {
		return nil, fmt.Errorf("the key is not that of the authority %q: bring the one that belongs to the certificate", certs[0].Subject)
	}
	return &Authority{certs: certs, key: key, platform: platformOf(certs[0])}, nil
}

// checkAuthority says why the first certificate cannot sign, or the others do not lead on.
func checkAuthority(certs []*x509.Certificate, now time.Time) error {
	own := certs[0]
	switch {
	case !own.BasicConstraintsValid || !own.IsCA || own.KeyUsage != 0 && own.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%q is not an authority's certificate, it may not sign others: put the issuing authority's first", own.Subject)
	case len(own.ExtKeyUsage)+len(own.UnknownExtKeyUsage) > 0 && !slices.Contains(own.ExtKeyUsage, x509.ExtKeyUsageAny) &&
		!(slices.Contains(own.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && slices.Contains(own.ExtKeyUsage, x509.ExtKeyUsageClientAuth)):
		return fmt.Errorf("the authority %q may not sign for both servers and clients: bring one without this restriction", own.Subject)
	}
	if err := current(own, now); err != nil {
		return fmt.Errorf("the authority %q %w: bring one that is valid", own.Subject, err)
	}
	for i, c := range certs[1:] {
		if err := certs[i].CheckSignatureFrom(c); err != nil {
			return fmt.Errorf("the chain of authority %q breaks at %q: %w", own.Subject, c.Subject, err)
		}
	}
	return nil
}

// current says why a certificate is not valid now.
func current(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("has expired on %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("is valid only from %s on (is the clock right?)", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// PEM returns what [Load] takes. The key is in the clear: [Seal] it.
func (a *Authority) PEM() (cert, key []byte, err error) {
	key, err = MarshalKey(a.key)
	return encodeCertificates(a.certs), key, err
}

// CertPEM returns what to verify with: the authority's certificate alone.
func (a *Authority) CertPEM() []byte { return encodeCertificates(a.certs[:1]) }

// Pool returns what to verify with.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.certs[0])
	return p
}

// NotAfter is when the authority ends, and with it all that it signed.
func (a *Authority) NotAfter() time.Time { return a.certs[0].NotAfter }

// Platform is the name under which its identities stand.
func (a *Authority) Platform() string { return a.platform }

func encodeCertificates(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return b.Bytes()
}
