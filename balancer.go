package stratos

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/balancer/proxy"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/topology/stream"
)

// Balancer is a balancer in a process of its own: it follows the topology of a
// control plane, routes to its members, and tells it what it sees. With the
// whole control plane away it goes on with the last topology, which it keeps
// on disk, also over its own restart.
type Balancer struct {
	// Control are the URLs of the control plane's replicas; at least one.
	Control []string
	// Token of kind balancer; secret.
	Token string
	// CA, PEM, is what the control plane is verified with, if it is https.
	// Default: the system's roots.
	CA []byte
	// Dir is where the last topology and the certificate are kept, made with
	// mode 0700. Default: "balancer.data".
	Dir string
	// Name is unique among the platform's balancers: 1 to 100 letters, digits,
	// dots and dashes. Default: the host's name and a random part, kept in Dir.
	Name string
	// Listen is where the built-in proxy takes requests. Default 127.0.0.1:8000.
	Listen string
	// Backend applies the routing table. Default: the built-in proxy on Listen.
	Backend balancer.Backend
	Log     *slog.Logger // default: none
}

// balancerCall bounds a call to one replica: a replica that was cut off must
// not keep the others waiting.
const balancerCall = 3 * time.Second

// Run balances until ctx ends, which is a success, or something fails that
// cannot be mended here. All its goroutines have ended when it returns.
func (b *Balancer) Run(ctx context.Context) error {
	r, err := b.open()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if r.proxy != nil {
		lis, err := listen(cmp.Or(b.Listen, "127.0.0.1:8000"), "balancer")
		if err != nil {
			return err
		}
		server := proxy.Server(r.proxy)
		g.Go(func() error { return serve(ctx, server, lis) })
	}
	g.Go(func() error { return r.introduce(ctx) })
	g.Go(func() error { return r.stream.Run(ctx) })
	g.Go(func() error { return r.edge.run(ctx) })
	if r.keeper != nil {
		g.Go(func() error { return r.keeper.Run(ctx) })
	}
	err = g.Wait()
	if r.proxy != nil {
		err = errors.Join(err, r.proxy.Close())
	}
	return err
}

// balancing is a Balancer that is about to run.
type balancing struct {
	stream *stream.Client
	edge   *edge
	keeper *ca.Keeper   // nil: the control plane is on loopback
	proxy  *proxy.Proxy // nil: the backend is somebody else's
}

// introduce says for the first time that there is this balancer. A token that
// is refused is an error to mend now; a control plane that is away comes back.
func (r *balancing) introduce(ctx context.Context) error {
	err := r.edge.status(ctx, balancer.Status{Name: r.edge.name, Seq: 1})
	var refused *client.Error
	if errors.As(err, &refused) && (refused.Code == http.StatusUnauthorized || refused.Code == http.StatusForbidden) {
		return fmt.Errorf("the control plane refuses this balancer's token; it has to be of kind balancer: %w", err)
	}
	return nil
}

// open checks everything and prepares the folder.
func (b *Balancer) open() (*balancing, error) {
	secure, err := b.check()
	if err != nil {
		return nil, err
	}
	dir := cmp.Or(b.Dir, "balancer.data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	name, err := b.name(dir)
	if err != nil {
		return nil, err
	}
	log := b.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: balancerCall}).DialContext,
		TLSHandshakeTimeout: balancerCall, IdleConnTimeout: time.Minute, Proxy: http.ProxyFromEnvironment,
	}
	if len(b.CA) > 0 {
		pool, err := ca.Pool(b.CA)
		if err != nil {
			return nil, fmt.Errorf("the control plane's CA: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	}
	control := &client.Client{URLs: b.Control, Token: b.Token, HTTP: &http.Client{Transport: transport}, Timeout: balancerCall}
	r := &balancing{stream: &stream.Client{
		URLs: b.Control, HTTP: &http.Client{Transport: bearer{transport, b.Token}},
		File: filepath.Join(dir, "topology.json"), Log: log,
	}}
	r.edge = &edge{
		name: name, source: r.stream, backend: b.Backend, every: sampleEvery,
		samples: control.Samples, status: control.BalancerStatus, log: log,
	}
	if b.Backend == nil {
		r.proxy = &proxy.Proxy{Log: log}
		r.edge.backend = r.proxy
	}
	if !secure {
		return r, nil
	}
	if r.keeper, err = b.certificate(dir, name, control, log); err != nil {
		return nil, err
	}
	if r.proxy != nil {
		r.proxy.TLS = &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: transport.TLSClientConfig.RootCAs,
			GetClientCertificate: r.keeper.GetClientCertificate,
		}
	}
	return r, nil
}

// check says whether the control plane is reached by TLS.
func (b *Balancer) check() (secure bool, err error) {
	if len(b.Control) == 0 {
		return false, errors.New("no control plane: give the URL of a replica, for example https://10.0.0.1:8080")
	}
	for _, u := range b.Control {
		p, err := url.Parse(u)
		switch {
		case err != nil || p.Host == "" || p.User != nil || p.Scheme != "http" && p.Scheme != "https":
			return false, fmt.Errorf("control plane %q: want its address, for example https://10.0.0.1:8080", withoutUser(u))
		case p.Scheme == "http" && !isLoopback(p.Host):
			return false, fmt.Errorf("control plane %s: off loopback it speaks https", u)
		}
		secure = secure || p.Scheme == "https"
	}
	if b.Token == "" {
		return false, errors.New("no token: the control plane makes one with POST /v1/tokens, kind balancer")
	}
	if secure && len(b.CA) == 0 {
		return false, errors.New("no CA: give the certificate that the control plane is verified with (ca.pem in its data folder)")
	}
	return secure, nil
}

// name is what this balancer is called, from its first start on.
func (b *Balancer) name(dir string) (string, error) {
	if b.Name != "" {
		return b.Name, nil
	}
	return keptText(filepath.Join(dir, "name"), func() string {
		host, err := os.Hostname()
		if err != nil {
			host = "balancer"
		}
		return label(host[:min(len(host), 60)]) + "-" + strings.ToLower(rand.Text()[:8])
	})
}

// keptText is the one line of the file at path; one that is not there, or
// empty, is made.
func keptText(path string, first func() string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if kept := strings.TrimSpace(string(text)); kept != "" {
		return kept, nil
	}
	made := first()
	return made, writeFile(path, []byte(made+"\n"))
}

// writeFile makes the file at path whole or not at all, on disk, readable by its
// owner.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// certificate keeps what this balancer shows to instances: with the control
// plane away it has the one of before.
func (b *Balancer) certificate(dir, name string, control *client.Client, log *slog.Logger) (*ca.Keeper, error) {
	key, err := balancerKey(filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "tls.crt")
	k := &ca.Keeper{Key: key, Log: log, Renew: func(ctx context.Context, csr []byte) ([]byte, error) {
		cert, err := control.BalancerCertificate(ctx, name, csr)
		if err != nil {
			return nil, err
		}
		return cert, writeFile(path, cert)
	}}
	cert, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil // Run gets one
	case err != nil:
		return nil, err
	}
	if err := k.Set(bytes.TrimSpace(cert)); err != nil {
		log.Warn("the balancer's former certificate cannot be used; a new one is asked for", "err", err)
	}
	return k, nil
}

// balancerKey reads the key at path, or makes one.
func balancerKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := ca.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: delete the file, and a new key is made", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ca.NewKey()
	if err != nil {
		return nil, err
	}
	if text, err = ca.MarshalKey(key); err != nil {
		return nil, err
	}
	return key, writeFile(path, text)
}

// bearer adds a token to every request.
type bearer struct {
	base  http.RoundTripper
	token string
}

// RoundTrip implements [http.RoundTripper].
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.base.RoundTrip(r)
}
