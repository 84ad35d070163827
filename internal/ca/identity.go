package ca

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// The kinds of identities.
const (
	Replica  = "replica"  // of the control plane; its built-in balancer is one with it
	Balancer = "balancer" // a balancer of its own
	Member   = "member"   // an instance's agent
)

// Identity is who a certificate is for.
type Identity struct {
	Platform string   // of the authority, which sets it: what Sign is given does not count
	Kind     string   // Replica, Balancer or Member
	Name     string   // a replica's, a balancer's or the member's id
	Names    []string // DNS names and IP addresses that it is reached by, too
}

const uriScheme = "stratos"

// nameForm is what a name may be: part of a URI and of a DNS name as it is.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)

// MemberName is the DNS name in a member's certificate, which nobody resolves.
func MemberName(member string) string { return strings.ToLower(member) + ".members.stratos" }

// check says why there can be no such identity.
func (id Identity) check() error {
	if id.Kind != Replica && id.Kind != Balancer && id.Kind != Member {
		return fmt.Errorf("there is no kind of identity %q", id.Kind)
	}
	if !nameForm.MatchString(id.Name) {
		return fmt.Errorf("the name %q of a %s is not 1 to 128 letters, digits, dots, hyphens and underscores between letters or digits", id.Name, id.Kind)
	}
	return nil
}

func (id Identity) uri() *url.URL {
	return &url.URL{Scheme: uriScheme, Host: id.Platform, Path: "/" + id.Kind + "/" + id.Name}
}

// names are all that the certificate is valid for.
func (id Identity) names() []string {
	if id.Kind == Member {
		return append([]string{MemberName(id.Name)}, id.Names...)
	}
	return id.Names
}

// IdentityOf reads whom a certificate is for. It does not verify: that is for
// who accepted the certificate. ok is false if it says nothing, or more than
// one thing.
func IdentityOf(cert *x509.Certificate) (id Identity, ok bool) {
	if cert == nil {
		return id, false
	}
	for _, u := range cert.URIs {
		if u.Scheme != uriScheme {
			continue
		}
		kind, name, cut := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if ok || !cut {
			return Identity{}, false
		}
		id, ok = Identity{Platform: u.Host, Kind: kind, Name: name}, true
	}
	if !ok || id.Platform == "" || id.check() != nil {
		return Identity{}, false
	}
	id.Names = append(id.Names, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		id.Names = append(id.Names, ip.String())
	}
	return id, true
}

// platformOf is the name of an authority as the host of a URI.
func platformOf(cert *x509.Certificate) string {
	host := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.':
			return r
		}
		return '-'
	}, strings.ToLower(cert.Subject.CommonName))
	return cmp.Or(strings.Trim(host, "-."), "platform")
}
