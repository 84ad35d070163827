package agent

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/internal/ca"
)

// identity is the member's certificate, with the key that it is for, and what
// the certificates of others are verified with. Both are saved in the agent's
// folder, so that an agent that starts again is the same.
type identity struct {
	roots  *x509.CertPool
	keeper *ca.Keeper
	path   string // of the certificate
	clock  *clock
	log    *slog.Logger
}

// openIdentity returns the identity in the agent's folder, with a new key if
// there is none; nil if the platform has no authority.
func openIdentity(home string, u wire.UserData, now *clock, log *slog.Logger) (*identity, error) {
	if len(u.CA) == 0 {
		return nil, nil
	}
	roots, err := ca.Pool(u.CA)
	if err != nil {
		return nil, fmt.Errorf("the authority in the user-data: %w", err)
	}
	key, err := openTLSKey(filepath.Join(home, "tls.key"))
	if err != nil {
		return nil, err
	}
	id := &identity{roots: roots, path: filepath.Join(home, "tls.crt"), clock: now, log: log}
	id.keeper = &ca.Keeper{Key: key, Log: log}
	saved, err := os.ReadFile(id.path)
	if err == nil {
		err = id.keeper.Set(saved)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the saved certificate is of no use, asking for another one", "err", err)
	}
	return id, nil
}

func openTLSKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeTLSKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the key for TLS: %w", err)
	}
	key, err := ca.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("the key for TLS in %s: %w: remove the file, another key takes its place", path, err)
	}
	return key, nil
}

func makeTLSKey(path string) (crypto.Signer, error) {
	key, err := ca.NewKey()
	if err != nil {
		return nil, fmt.Errorf("making the key for TLS: %w", err)
	}
	text, err := ca.MarshalKey(key)
	if err == nil {
		err = writeDurably(path, text)
	}
	if err != nil {
		return nil, fmt.Errorf("saving the key for TLS: %w", err)
	}
	return key, nil
}

// take makes the answer to the join the certificate. If it is none, the one
// that was saved stays, and keep asks for another.
func (id *identity) take(certPEM []byte) {
	if id == nil {
		return
	}
	err := id.keeper.Set(certPEM)
	if err == nil {
		err = writeDurably(id.path, certPEM)
	}
	if err != nil {
		id.log.Warn("the certificate that the control plane gave", "err", err)
	}
}

// keep renews the certificate until ctx ends.
func (id *identity) keep(ctx context.Context, c *control) {
	id.keeper.Renew = func(ctx context.Context, csr []byte) ([]byte, error) {
		var out wire.CertificateReply
		err := c.call(ctx, c.http, http.MethodPost, wire.CertificatePath, wire.CertificateRequest{CSR: csr}, &out)
		if err != nil {
			return nil, err
		}
		return out.Certificate, writeDurably(id.path, out.Certificate)
	}
	if err := id.keeper.Run(ctx); err != nil {
		id.log.Error("renewing the certificate", "err", err)
	}
}

// serverConfig is the TLS in front of runtimes: only balancers of this
// platform get in, and its replicas, which may be balancers too.
func (id *identity) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         id.keeper.GetCertificate,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              id.roots,
		SessionTicketsDisabled: true, // every connection shows its certificate
		Time:                   id.clock.Now,
		VerifyConnection:       id.admit,
	}
}

func (id *identity) admit(s tls.ConnectionState) error {
	own, ok := ca.IdentityOf(id.keeper.Leaf())
	peer, known := ca.IdentityOf(s.PeerCertificates[0])
	switch {
	case !ok || !known || peer.Platform != own.Platform:
		return errors.New("the certificate is not one of this platform's balancers")
	case peer.Kind != ca.Balancer && peer.Kind != ca.Replica:
		return fmt.Errorf("%s %s is not a balancer", peer.Kind, peer.Name)
	}
	return nil
}

// loopback reports whether an address is reached on its own machine alone.
func loopback(address string) bool {
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback() || address == "localhost"
}
