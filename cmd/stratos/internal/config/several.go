package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// TLS names the files of certificates, PEM. All may be left out.
type TLS struct {
	// CACert and CAKey are an authority to sign with, in place of the platform's own.
	CACert string `yaml:"caCert"`
	CAKey  string `yaml:"caKey"`
	// Cert and Key are what the API shows; Roots is what they are verified with.
	Cert  string `yaml:"cert"`
	Key   string `yaml:"key"`
	Roots string `yaml:"roots"`
}

// Store is where records are: exactly one kind.
type Store struct {
	Etcd *Etcd `yaml:"etcd"`
}

// Etcd is a cluster that the operator runs, version 3.5.14 or newer.
type Etcd struct {
	Endpoints []string `yaml:"endpoints"` // https off loopback; required
	Prefix    string   `yaml:"prefix"`    // of all keys. Default: stratos/
	// CA verifies the servers, Cert and Key show who we are: files, PEM.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Username, and the file of its password, for clusters that ask for them.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
}

// Blobs is where releases are: exactly one kind.
type Blobs struct {
	S3 *S3 `yaml:"s3"`
}

// S3 is a bucket of Amazon S3 or of a server that speaks its protocol. Its
// credentials are where the AWS SDK looks: AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, or a profile.
type S3 struct {
	Bucket    string `yaml:"bucket"`    // required
	Prefix    string `yaml:"prefix"`    // of all keys. Default: none
	Endpoint  string `yaml:"endpoint"`  // https off loopback. Default: AWS
	Region    string `yaml:"region"`    // Default: us-east-1
	PathStyle bool   `yaml:"pathStyle"` // the bucket is in the path, not in the host name. Default: false
	CA        string `yaml:"ca"`        // verifies the server: a file, PEM. Default: the system's roots
}

// checkSeveral notes what cannot work of what is there for several machines.
func (f *File) checkSeveral(p *problems) {
	f.checkURLs(p)
	f.checkTLS(p)
	f.checkStore(p)
	f.checkBlobs(p)
	for i, a := range f.Accounts {
		f.checkPlace(p, fmt.Sprintf("accounts[%d]", i), a)
	}
}

// checkURLs checks how others reach the control planes.
func (f *File) checkURLs(p *problems) {
	scheme := "https"
	if f.plain() {
		scheme = "http"
	}
	if host, port, err := net.SplitHostPort(f.API); err == nil && f.URL == "" && unspecified(host) {
		p.addf("api", "%s is every address of this machine: say with url where others reach it, for example https://10.0.0.1:%s", f.API, port)
	}
	if f.URL != "" {
		p.add("url", checkURL(f.URL, scheme))
	}
	for i, u := range f.Replicas {
		field := fmt.Sprintf("replicas[%d]", i)
		p.add(field, checkURL(u, scheme))
		if slices.Contains(f.Replicas[:i], u) {
			p.addf(field, "is there twice: remove one")
		}
	}
	if f.Store == nil && len(f.Replicas) > 1 {
		p.addf("replicas", "several control planes need a store that they share: write store too")
	}
}

// checkURL checks the address of a control plane. What has a password is not repeated.
func checkURL(text, scheme string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is no address of a control plane: write one like " + scheme + "://10.0.0.1:8080")
	case u.User != nil:
		return errors.New("an address of a control plane has no credentials: remove what stands before the @")
	case u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is no address of a control plane: write one like %s://10.0.0.1:8080", text, scheme)
	case u.Scheme != scheme && scheme == "http":
		return fmt.Errorf("%q: an API on loopback is plain http: write http://%s, or an address of the network in api", text, u.Host)
	case u.Scheme != scheme:
		return fmt.Errorf("%q: an API off loopback is https: write https://%s", text, u.Host)
	}
	return nil
}

// plain reports whether the API is on a loopback address, and so without TLS.
func (f *File) plain() bool {
	host, _, err := net.SplitHostPort(f.API)
	return err != nil || loopback(host)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (f *File) checkTLS(p *problems) {
	t := f.TLS
	if t == nil {
		return
	}
	if (t.CACert == "") != (t.CAKey == "") {
		p.addf("tls", "caCert and caKey belong together: write both, or none")
	}
	if some := []bool{t.Cert != "", t.Key != "", t.Roots != ""}; slices.Contains(some, true) && slices.Contains(some, false) {
		p.addf("tls", "cert, key and roots belong together: write all three, or none")
	}
	if f.plain() {
		p.addf("tls", "an API on loopback is plain http: write an address of the network in api, or leave tls out")
	}
}

func (f *File) checkStore(p *problems) {
	if f.Store == nil {
		return
	}
	e := f.Store.Etcd
	if e == nil || len(e.Endpoints) == 0 {
		p.addf("store", "no kind of store: write etcd with its endpoints, or leave store out")
		return
	}
	if f.Blobs == nil {
		p.addf("store", "several control planes need blobs that they share: write blobs too")
	}
	for i, text := range e.Endpoints {
		p.add(fmt.Sprintf("store.etcd.endpoints[%d]", i), e.checkEndpoint(text))
	}
	if (e.Cert == "") != (e.Key == "") {
		p.addf("store.etcd", "cert and key belong together: write both, or none")
	}
	if (e.Username == "") != (e.PasswordFile == "") {
		p.addf("store.etcd", "username and passwordFile belong together: write both, or none")
	}
}

// checkEndpoint checks the address of an etcd server, host:port or a URL.
func (e *Etcd) checkEndpoint(text string) error {
	scheme, host, found := strings.Cut(text, "://")
	if !found {
		scheme, host = "", text
	}
	if strings.Contains(host, "@") {
		return errors.New("an endpoint has no credentials: write username and passwordFile")
	}
	name, port, err := net.SplitHostPort(strings.TrimSuffix(host, "/"))
	switch {
	case err != nil || name == "" || port == "" || scheme != "" && scheme != "http" && scheme != "https":
		return fmt.Errorf("%q is no endpoint: write one like https://10.0.0.3:2379", text)
	case scheme == "http" && e.secure():
		return fmt.Errorf("%q is without TLS, and another field of etcd asks for it: write https://%s", text, host)
	case !e.secure() && !loopback(name):
		return fmt.Errorf("%q is on another machine: write https://%s, and ca if the system does not know who signed for it", text, host)
	}
	return nil
}

// secure reports whether the servers are asked by TLS: all, or none.
func (e *Etcd) secure() bool {
	return e.CA+e.Cert+e.Key != "" || slices.ContainsFunc(e.Endpoints, func(u string) bool { return strings.HasPrefix(u, "https://") })
}

func (f *File) checkBlobs(p *problems) {
	if f.Blobs == nil {
		return
	}
	s := f.Blobs.S3
	if s == nil || s.Bucket == "" {
		p.addf("blobs", "no kind of blobs: write s3 with its bucket, or leave blobs out")
		return
	}
	if s.Endpoint == "" {
		return
	}
	u, err := url.Parse(s.Endpoint)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		p.addf("blobs.s3.endpoint", "is no address of a server: write one like https://s3.example.org")
	case u.User != nil:
		p.addf("blobs.s3.endpoint", "an endpoint has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.RawQuery != "" || u.Fragment != "":
		p.addf("blobs.s3.endpoint", "has a query or a fragment: remove what begins with ? or #")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		p.addf("blobs.s3.endpoint", "%q is on another machine: write https://%s", s.Endpoint, u.Host)
	}
}

// checkPlace checks where an account's instances are.
func (f *File) checkPlace(p *problems, field string, a Account) {
	if a.Address != "" {
		ip, err := netip.ParseAddr(a.Address)
		switch {
		case err != nil:
			p.addf(field+".address", "%q is no IP address: write one of this machine, for example 10.0.0.1", a.Address)
		case !ip.IsLoopback() && f.plain():
			p.addf(field+".address", "%s is reached by others, and the API is plain http: write an address of the network in api too", a.Address)
		}
	}
	if len(a.Wrap) > 0 && a.Wrap[0] == "" {
		p.addf(field+".wrap", "begins with nothing: write a command, for example [ip, netns, exec, blue]")
	}
}
