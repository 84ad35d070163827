package stratos

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
)

// TLS says how an API shows itself that is not on a loopback address. Its zero
// value is the usual one: the platform makes an authority of its own, and keeps
// its key in the store, sealed with the master key.
type TLS struct {
	// CACert and CAKey, PEM, are an authority to sign with instead: for
	// replicas, balancers and instances. Both or none.
	CACert, CAKey []byte
	// Certificate is what the API shows instead of one of the authority's.
	// Roots, PEM, is what it is verified with; instances are told.
	Certificate *tls.Certificate
	Roots       []byte
}

// replica is what one control plane is among several.
type replica struct {
	url    string        // where it is reached
	shared bool          // the store may have other replicas
	token  string        // what replicas show to each other; empty if there are no others
	ca     *ca.Authority // nil: everything is on loopback, and plain
	keeper *ca.Keeper    // of its own certificate
	roots  []byte        // PEM: what its API is verified with
	http   *http.Transport

	leads  atomic.Bool
	leader atomic.Pointer[string] // the URL of who leads; nil or empty: nobody
}

// Keys of the records that bind replicas to each other.
const (
	masterKeyKey = "masterkey"
	authorityKey = "authority"
)

// masterKeyRecord tells a wrong master key from the right one.
type masterKeyRecord struct {
	V     int    `json:"v"`
	Check []byte `json:"check"` // a known text, sealed
}

// authorityRecord is the platform's own authority.
type authorityRecord struct {
	V    int    `json:"v"`
	Cert []byte `json:"cert"` // PEM
	Key  []byte `json:"key"`  // PEM, sealed with the master key
}

// openReplica finds out what this replica is: its address, its secrets, its authority.
func (p *Platform) openReplica(ctx context.Context) error {
	r := &p.replica
	r.shared = p.cfg.Store != nil
	secure := !isLoopback(p.cfg.API)
	r.url = p.cfg.URL
	r.http = &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   32,
	}
	if !secure && !r.shared {
		return nil // nobody to keep secrets with, or from
	}
	key, err := p.masterKey(ctx)
	if err != nil {
		return err
	}
	token, err := hkdf.Key(sha256.New, key, nil, "stratos replica token 1", 32)
	if err != nil {
		return err
	}
	r.token = hex.EncodeToString(token)
	if !secure {
		return nil
	}
	if r.ca, err = p.authority(ctx, key); err != nil {
		return err
	}
	r.roots = append(r.ca.CertPEM(), p.cfg.TLS.Roots...)
	pool, err := ca.Pool(r.roots)
	if err != nil {
		return fmt.Errorf("TLS.Roots: %w", err)
	}
	r.http.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	// For who calls from outside: balancers, operators.
	if err := writeFile(filepath.Join(p.cfg.Dir, "ca.pem"), r.roots); err != nil {
		return err
	}
	return p.certifyReplica(ctx)
}

// masterKey reads the key that seals secrets, and proves that it is the one
// that this platform's secrets are sealed with. The first replica makes it.
func (p *Platform) masterKey(ctx context.Context) ([]byte, error) {
	path := p.cfg.MasterKey
	if path == "" {
		path = filepath.Join(p.cfg.Dir, "master.key")
	}
	rec, err := store.Read[masterKeyRecord](ctx, p.store, masterKeyKey)
	first := errors.Is(err, store.ErrNotFound)
	if err != nil && !first {
		return nil, err
	}
	if !first {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no master key at %s, and this platform has one: copy it from the replica that was started first, or from its backup", path)
		}
	}
	key, err := ca.LoadOrMakeKey(path)
	if err != nil {
		return nil, err
	}
	if !first {
		_, err := ca.Open(key, masterKeyKey, rec.Value.Check)
		return key, err
	}
	check, err := ca.Seal(key, masterKeyKey, []byte(p.cfg.Name))
	if err != nil {
		return nil, err
	}
	rec = store.NewRecord(masterKeyKey, masterKeyRecord{V: 1, Check: check})
	return key, p.createRecord(ctx, rec.Unchanged(), rec.Put, func() error {
		_, err := p.masterKey(ctx)
		return err
	})
}

// createRecord writes a record that is not there yet. If another replica was
// faster, theirs is looked at.
func (p *Platform) createRecord(ctx context.Context, absent store.Cond, put func() (store.Op, error), theirs func() error) error {
	op, err := put()
	if err != nil {
		return err
	}
	_, err = p.store.Commit(ctx, store.Txn{If: []store.Cond{absent}, Then: []store.Op{op}})
	var conflict *store.ConflictError
	var unknown *store.UnknownError
	if errors.As(err, &conflict) || errors.As(err, &unknown) {
		return theirs()
	}
	return err
}

// authority is what signs for everybody: the operator's, the platform's own,
// or a new one.
func (p *Platform) authority(ctx context.Context, master []byte) (*ca.Authority, error) {
	if t := p.cfg.TLS; len(t.CACert)+len(t.CAKey) > 0 {
		return ca.Load(t.CACert, t.CAKey)
	}
	rec, err := store.Read[authorityRecord](ctx, p.store, authorityKey)
	if err == nil {
		key, err := ca.Open(master, authorityKey, rec.Value.Key)
		if err != nil {
			return nil, err
		}
		return ca.Load(rec.Value.Cert, key)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	a, err := ca.New(p.cfg.Name, time.Now())
	if err != nil {
		return nil, err
	}
	cert, key, err := a.PEM()
	if err != nil {
		return nil, err
	}
	sealed, err := ca.Seal(master, authorityKey, key)
	if err != nil {
		return nil, err
	}
	rec = store.NewRecord(authorityKey, authorityRecord{V: 1, Cert: cert, Key: sealed})
	return a, p.createRecord(ctx, rec.Unchanged(), rec.Put, func() error {
		a, err = p.authority(ctx, master)
		return err
	})
}

// certifyReplica gives this replica its own certificate, which it renews by itself.
func (p *Platform) certifyReplica(ctx context.Context) error {
	r := &p.replica
	u, err := url.Parse(r.url)
	if err != nil {
		return err
	}
	names := []string{u.Hostname()}
	if host, _, err := net.SplitHostPort(p.cfg.API); err == nil && host != u.Hostname() {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
	}
	key, err := ca.NewKey()
	if err != nil {
		return err
	}
	id := ca.Identity{Kind: ca.Replica, Name: label(u.Host), Names: names}
	r.keeper = &ca.Keeper{Key: key, Log: p.cfg.Log, Renew: func(_ context.Context, csr []byte) ([]byte, error) {
		return r.ca.Sign(csr, id, time.Now())
	}}
	csr, err := ca.Request(key)
	if err != nil {
		return err
	}
	cert, err := r.keeper.Renew(ctx, csr)
	if err != nil {
		return err
	}
	return r.keeper.Set(cert)
}

// label makes a part of a certificate's name of an address.
func label(host string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.':
			return c
		}
		return '-'
	}, host), "-.")
}

// serverTLS is how the API is served; nil: plainly.
func (p *Platform) serverTLS() *tls.Config {
	r := &p.replica
	if r.ca == nil {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: r.keeper.GetCertificate}
	if own := p.cfg.TLS.Certificate; own != nil {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil }
	}
	return c
}

// memberTLS is how the built-in balancer reaches instances; nil: plainly.
func (p *Platform) memberTLS() *tls.Config {
	if p.replica.ca == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: p.replica.ca.Pool(),
		GetClientCertificate: p.replica.keeper.GetClientCertificate,
	}
}

// certify signs for agents and balancers; see [api.Server.Certify].
func (p *Platform) certify(kind, name string, csr []byte) ([]byte, error) {
	id := ca.Identity{Kind: ca.Member, Name: name}
	if kind == api.CertifyBalancer {
		id.Kind = ca.Balancer
	}
	return p.replica.ca.Sign(csr, id, time.Now())
}

// leading says who leads; see [api.Server.Leader].
func (p *Platform) leading() (leader string, self bool) {
	r := &p.replica
	if r.leads.Load() || !r.shared {
		return r.url, true
	}
	if l := r.leader.Load(); l != nil && *l != r.url {
		return *l, false
	}
	return "", false
}

// followLeader keeps who leads, until ctx ends.
func (p *Platform) followLeader(ctx context.Context) error {
	key := store.LeaderPrefix + leaderName
	return store.Follow(ctx, p.store, key, func(b store.Batch, whole bool) error {
		leader := ""
		if l := p.replica.leader.Load(); l != nil && !whole {
			leader = *l
		}
		for _, e := range b.Events {
			if e.Key == key {
				leader = string(e.Value) // empty when it was deleted
			}
		}
		p.replica.leader.Store(&leader)
		return nil
	})
}

// isLoopback reports whether only this machine reaches an address, host:port.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

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
			errs = append(errs, fmt.Errorf("replica %q: want its address and nothing else, for example https://10.0.0.1:8080", u))
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

// checkCertificate refuses an API certificate that nobody would accept.
func checkCertificate(own *tls.Certificate, t TLS, apiURL string) error {
	if len(own.Certificate) == 0 {
		return errors.New("TLS.Certificate is empty")
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return fmt.Errorf("TLS.Certificate: %w", err)
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
