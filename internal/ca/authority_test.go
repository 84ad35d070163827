package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/ca"
)

func newAuthority(t testing.TB, name string) *ca.Authority {
	a, err := ca.New(name, time.Now())
	require.NoError(t, err)
	return a
}

// leafOf signs a request and returns its certificate.
func leafOf(t testing.TB, a *ca.Authority, id ca.Identity, now time.Time) *x509.Certificate {
	key, err := ca.NewKey()
	require.NoError(t, err)
	csr, err := ca.Request(key)
	require.NoError(t, err)
	chain, err := a.Sign(csr, id, now)
	require.NoError(t, err)
	return parse(t, chain)[0]
}

func parse(t testing.TB, text []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		all = append(all, c)
	}
	return all
}

func TestAuthorityRoundTrip(t *testing.T) {
	made := newAuthority(t, "Acme PaaS")
	cert, key, err := made.PEM()
	require.NoError(t, err)
	a, err := ca.Load(cert, key)
	require.NoError(t, err)
	require.Equal(t, made.CertPEM(), a.CertPEM())
	require.Equal(t, "acme-paas", a.Platform())

	leaf := leafOf(t, a, ca.Identity{Platform: "forged", Kind: ca.Member, Name: "m1"}, time.Now())
	_, err = leaf.Verify(x509.VerifyOptions{Roots: made.Pool(), DNSName: ca.MemberName("m1")})
	require.NoError(t, err)
	require.NoError(t, leaf.VerifyHostname("m1.members.stratos"))
	require.Error(t, leaf.VerifyHostname(ca.MemberName("m2")))
	require.Equal(t, "stratos://acme-paas/member/m1", leaf.URIs[0].String())
	id, ok := ca.IdentityOf(leaf)
	require.True(t, ok)
	require.Equal(t, ca.Identity{Platform: "acme-paas", Kind: ca.Member, Name: "m1", Names: []string{"m1.members.stratos"}}, id)
	require.WithinDuration(t, time.Now().Add(-time.Hour), leaf.NotBefore, time.Minute)
	require.WithinDuration(t, time.Now().Add(ca.Life), leaf.NotAfter, time.Minute)
	require.False(t, leaf.IsCA)
}

func TestServer(t *testing.T) {
	a := newAuthority(t, "p")
	c, err := a.Server([]string{"control.example", "10.0.0.1", "::1"}, ca.Identity{Kind: ca.Replica, Name: "r1"}, time.Now())
	require.NoError(t, err)
	for _, name := range []string{"control.example", "10.0.0.1", "::1"} {
		require.NoError(t, c.Leaf.VerifyHostname(name))
	}
	id, ok := ca.IdentityOf(c.Leaf)
	require.True(t, ok)
	require.Equal(t, []string{"control.example", "10.0.0.1", "::1"}, id.Names)

	// It serves, and is a client as well.
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{usage}})
		require.NoError(t, err)
	}
}

// What a request says of its sender counts for nothing.
func TestSignTakesOnlyTheKey(t *testing.T) {
	a := newAuthority(t, "p")
	key, err := ca.NewKey()
	require.NoError(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "replica root"}, DNSNames: []string{"control.example"}, IPAddresses: []net.IP{{10, 0, 0, 1}},
	}, key)
	require.NoError(t, err)
	chain, err := a.Sign(csr, ca.Identity{Kind: ca.Balancer, Name: "b1"}, time.Now())
	require.NoError(t, err)
	leaf := parse(t, chain)[0]
	require.Empty(t, leaf.DNSNames)
	require.Empty(t, leaf.IPAddresses)
	require.Equal(t, "balancer b1", leaf.Subject.CommonName)
	require.True(t, key.Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey))
}

func TestSignRefuses(t *testing.T) {
	a := newAuthority(t, "p")
	key, err := ca.NewKey()
	require.NoError(t, err)
	good, err := ca.Request(key)
	require.NoError(t, err)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	weakRequest, err := ca.Request(weak)
	require.NoError(t, err)
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	member := ca.Identity{Kind: ca.Member, Name: "m1"}
	for _, test := range []struct {
		name string
		csr  []byte
		id   ca.Identity
		now  time.Time
		says string
	}{
		{name: "no request", csr: []byte("x"), id: member, says: "cannot be read"},
		{name: "a request that another key signed", csr: forged, id: member, says: "not signed by its key"},
		{name: "a weak key", csr: weakRequest, id: member, says: "too weak"},
		{name: "no kind", csr: good, id: ca.Identity{Name: "m1"}, says: "no kind of identity"},
		{name: "no name", csr: good, id: ca.Identity{Kind: ca.Member}, says: "the name"},
		{name: "a name that is a path", csr: good, id: ca.Identity{Kind: ca.Member, Name: "a/b"}, says: "the name"},
		{name: "after its end", csr: good, id: member, now: a.NotAfter().Add(time.Second), says: "authority has expired"},
		{name: "before its begin", csr: good, id: member, now: time.Now().Add(-2 * time.Hour), says: "is the clock right?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.now.IsZero() {
				test.now = time.Now()
			}
			_, err := a.Sign(test.csr, test.id, test.now)
			require.ErrorContains(t, err, test.says)
		})
	}
}

// A certificate does not outlive its authority.
func TestLifeEndsWithTheAuthority(t *testing.T) {
	a := newAuthority(t, "p")
	leaf := leafOf(t, a, ca.Identity{Kind: ca.Member, Name: "m1"}, a.NotAfter().Add(-time.Hour))
	require.Equal(t, a.NotAfter(), leaf.NotAfter)
}

// brought is an authority that an operator brings: a root, and one below it.
type brought struct {
	root, own       *x509.Certificate
	rootPEM, ownPEM []byte
	keyPEM          []byte
}

func bring(t *testing.T, change func(*x509.Certificate)) brought {
	rootKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := template("Corporate Root", 1)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	require.NoError(t, err)
	ownKey, err := ca.NewKey()
	require.NoError(t, err)
	own := template("Corporate PaaS", 2)
	change(own)
	ownDER, err := x509.CreateCertificate(rand.Reader, own, root, ownKey.Public(), rootKey)
	require.NoError(t, err)
	keyPEM, err := ca.MarshalKey(ownKey)
	require.NoError(t, err)
	b := brought{keyPEM: keyPEM}
	b.rootPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	b.ownPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ownDER})
	b.root, b.own = parse(t, b.rootPEM)[0], parse(t, b.ownPEM)[0]
	return b
}

func join(texts ...[]byte) (all []byte) {
	for _, text := range texts {
		all = append(all, text...)
	}
	return all
}

func TestLoadTakesWhatTheOperatorBrings(t *testing.T) {
	b := bring(t, func(*x509.Certificate) {})
	a, err := ca.Load(join(b.ownPEM, b.rootPEM), b.keyPEM)
	require.NoError(t, err)
	key, err := ca.NewKey()
	require.NoError(t, err)
	csr, err := ca.Request(key)
	require.NoError(t, err)
	chain, err := a.Sign(csr, ca.Identity{Kind: ca.Member, Name: "m1"}, time.Now())
	require.NoError(t, err)
	certs := parse(t, chain)
	require.Len(t, certs, 2, "the leaf and what leads to the root, without the root")

	above, roots := x509.NewCertPool(), x509.NewCertPool()
	above.AddCert(certs[1])
	roots.AddCert(b.root)
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: above})
	require.NoError(t, err, "who trusts the root")
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: a.Pool()})
	require.NoError(t, err, "who trusts the authority alone")
	require.Equal(t, b.ownPEM, a.CertPEM(), "instances trust the authority, and not all that its root signed")
}

func TestLoadRefuses(t *testing.T) {
	good := bring(t, func(*x509.Certificate) {})
	leaf := bring(t, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	expired := bring(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := bring(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	servers := bring(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("s3cret")})
	damaged := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("s3cret")})
	for _, test := range []struct {
		name      string
		cert, key []byte
		says      string
	}{
		{"no certificate", nil, good.keyPEM, "no certificate in PEM"},
		{"the key in its place", good.keyPEM, good.keyPEM, "PRIVATE KEY among the certificates"},
		{"a server's certificate", leaf.ownPEM, leaf.keyPEM, "not an authority's certificate"},
		{"one that has expired", expired.ownPEM, expired.keyPEM, "has expired on"},
		{"one of the future", early.ownPEM, early.keyPEM, "valid only from"},
		{"one for servers only", servers.ownPEM, servers.keyPEM, "both servers and clients"},
		{"another key", good.ownPEM, leaf.keyPEM, "not that of the authority"},
		{"no key", good.ownPEM, []byte("x"), "no private key in PEM"},
		{"an encrypted key", good.ownPEM, encrypted, "decrypt it first"},
		{"a damaged key", good.ownPEM, damaged, "damaged"},
		{"a chain that does not lead on", join(good.ownPEM, leaf.rootPEM), good.keyPEM, "breaks at"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ca.Load(test.cert, test.key)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// An authority with constraints says so when it signs, not when nobody can connect.
func TestSignKeepsTheAuthoritysConstraints(t *testing.T) {
	b := bring(t, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"corp.example"}, true
	})
	a, err := ca.Load(b.ownPEM, b.keyPEM)
	require.NoError(t, err)
	_, err = a.Server([]string{"paas.corp.example"}, ca.Identity{Kind: ca.Replica, Name: "r1"}, time.Now())
	require.NoError(t, err)
	_, err = a.Server(nil, ca.Identity{Kind: ca.Member, Name: "m1"}, time.Now())
	require.ErrorContains(t, err, "may not sign for member m1")
}

func TestIdentityOfNothing(t *testing.T) {
	_, ok := ca.IdentityOf(nil)
	require.False(t, ok)
	_, ok = ca.IdentityOf(&x509.Certificate{DNSNames: []string{"m1.members.stratos"}})
	require.False(t, ok)
}

func TestForeignAndExpiredAreRefused(t *testing.T) {
	a, foreign := newAuthority(t, "p"), newAuthority(t, "p")
	for _, test := range []struct {
		name string
		by   *ca.Authority
		now  time.Time
		says string
	}{
		{"of another authority", foreign, time.Now(), "unknown authority"},
		{"expired", func() *ca.Authority {
			old, err := ca.New("p", time.Now().Add(-40*24*time.Hour))
			require.NoError(t, err)
			a = old
			return old
		}(), time.Now().Add(-35 * 24 * time.Hour), "expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, err := test.by.Server([]string{"127.0.0.1"}, ca.Identity{Kind: ca.Replica, Name: "r1"}, test.now)
			require.NoError(t, err)
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}})
			require.NoError(t, err)
			defer l.Close()
			served := make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = c.(*tls.Conn).Handshake()
					_ = c.Close()
				}
				served <- err
			}()
			_, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: a.Pool()})
			require.ErrorContains(t, err, test.says)
			require.Error(t, <-served)
		})
	}
}
