package stratos

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
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
	"github.com/gostratos/stratos/cloud"
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
	url     string        // where it is reached
	id      string        // tells it from another one that calls itself by the same url
	shared  bool          // the store may have other replicas
	secrets []byte        // the master key
	token   string        // what replicas show to each other; empty if there are no others
	ca      *ca.Authority // nil: everything is on loopback, and plain
	keeper  *ca.Keeper    // of its own certificate
	roots   []byte        // PEM: what its API is verified with
	http    *http.Transport

	leads  atomic.Bool
	leader atomic.Pointer[string] // who leads, see Platform.candidate; nil or empty: nobody
}

// Keys of the records that bind replicas to each other.
const (
	locationPrefix = "locations/"
	masterKeyKey   = "masterkey"
	authorityKey   = "authority"
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
	var err error
	if r.secrets, err = p.masterKey(ctx); err != nil {
		return err
	}
	if !secure && !r.shared {
		return nil
	}
	if r.id, err = keptText(filepath.Join(p.cfg.Dir, "replica"), rand.Text); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	token, err := hkdf.Key(sha256.New, r.secrets, nil, "stratos replica token 1", 32)
	if err != nil {
		return err
	}
	r.token = hex.EncodeToString(token)
	if !secure {
		return nil
	}
	if r.ca, err = p.authority(ctx, r.secrets); err != nil {
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
		if _, err := ca.Open(key, masterKeyKey, rec.Value.Check); err != nil {
			return nil, fmt.Errorf("%s is not this platform's master key: copy it from the replica that was started first, or from its backup: %w", path, err)
		}
		return key, nil
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

// locationRecord says where an account's instances are.
type locationRecord struct {
	V        int    `json:"v"`
	Account  string `json:"account"`
	Location string `json:"location"`
}

// locate refuses an account whose instances another replica has in another
// place: each would take the other's for gone.
func (p *Platform) locate(ctx context.Context, a *cloud.Account) error {
	if !p.replica.shared {
		return nil
	}
	here, err := a.Location()
	if err != nil || here == "" {
		return err
	}
	rec, err := store.Read[locationRecord](ctx, p.store, locationPrefix+a.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		rec = store.NewRecord(locationPrefix+a.Name, locationRecord{V: 1, Account: a.Name, Location: here})
		return p.createRecord(ctx, rec.Unchanged(), rec.Put, func() error { return p.locate(ctx, a) })
	case err != nil:
		return err
	case rec.Value.Location != here:
		return fmt.Errorf("account %s: its instances are in %s, and here it is %s: give all replicas the same folder on the same machine, or the account another name", a.Name, rec.Value.Location, here)
	}
	return nil
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
	if l := r.leader.Load(); l != nil {
		if url, _, _ := strings.Cut(*l, " "); url != r.url {
			return url, false
		}
	}
	return "", false
}

// candidate is what this control plane is called in the campaign: alone the
// flavour's name, so that a restart at another address takes over at once;
// among replicas its address, and what tells it from a twin.
func (p *Platform) candidate() string {
	if p.replica.shared {
		return p.replica.url + " " + p.replica.id
	}
	return p.cfg.Name
}

// warnOfTwin tells of a leader with this replica's address that is another one.
func (p *Platform) warnOfTwin(leader string) {
	if strings.HasPrefix(leader, p.replica.url+" ") && leader != p.candidate() {
		p.log().Error("another control plane has this one's address: give each its own URL", "url", p.replica.url)
	}
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
				p.warnOfTwin(leader)
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
