package ca

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	firstRetry = time.Second
	lastRetry  = 10 * time.Minute
	// lookAgain bounds a sleep, so that a clock that jumps is noticed.
	lookAgain = time.Hour
)

// Keeper holds a certificate and renews it at half its life. Key and Renew
// must be set before it is used. Its methods may be called concurrently.
type Keeper struct {
	// Key is what the certificates are for. Who makes the keeper saves it.
	Key crypto.Signer
	// Renew gets a new certificate, a chain in PEM, for a request (DER) of the
	// key. It may be called any time, and may save what it gets.
	Renew func(ctx context.Context, csr []byte) (certPEM []byte, err error)
	// Log is told of renewals, and why there was none. Default: nothing.
	Log *slog.Logger

	current atomic.Pointer[tls.Certificate]
}

// Set makes a chain, PEM, the certificate. It must be for Key, and not be over.
func (k *Keeper) Set(certPEM []byte) error {
	c, err := pair(certPEM, k.Key)
	if err != nil {
		return err
	}
	if time.Now().After(c.Leaf.NotAfter) {
		return errors.New("the certificate has expired on " + c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	k.current.Store(&c)
	return nil
}

// Leaf is the certificate; nil if there is none.
func (k *Keeper) Leaf() *x509.Certificate {
	if c := k.current.Load(); c != nil {
		return c.Leaf
	}
	return nil
}

var errNone = errors.New("there is no certificate yet")

// GetCertificate is for a server's [tls.Config].
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := k.current.Load()
	if c == nil {
		return nil, errNone
	}
	return c, nil
}

// GetClientCertificate is for a client's [tls.Config].
func (k *Keeper) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return k.GetCertificate(nil)
}

// Run renews the certificate until ctx ends, at once if there is none. While
// that does not succeed the former one stays, and it tries again.
func (k *Keeper) Run(ctx context.Context) error {
	retry := firstRetry
	for {
		for !k.due() {
			if !sleep(ctx, k.untilDue()) {
				return nil
			}
		}
		err := k.renew(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil && !k.due() {
			retry = firstRetry
			k.log().Info("certificate renewed", "until", k.Leaf().NotAfter)
			continue
		}
		if err == nil {
			err = errors.New("the new certificate is past its half already: is the clock right, does the authority end soon?")
		}
		k.log().Warn("renewing the certificate, trying again", "until", k.until(), "err", err)
		if !sleep(ctx, retry/2+rand.N(retry/2)) {
			return nil
		}
		retry = min(2*retry, lastRetry)
	}
}

func (k *Keeper) renew(ctx context.Context) error {
	csr, err := Request(k.Key)
	if err != nil {
		return err
	}
	certPEM, err := k.Renew(ctx, csr)
	if err != nil {
		return err
	}
	return k.Set(certPEM)
}

// due reports whether the half of the certificate's life is over.
func (k *Keeper) due() bool { return k.untilHalf() <= 0 }

// untilDue is how long to sleep before looking again.
func (k *Keeper) untilDue() time.Duration { return min(k.untilHalf(), lookAgain) }

func (k *Keeper) untilHalf() time.Duration {
	leaf := k.Leaf()
	if leaf == nil {
		return 0
	}
	// Without the monotonic part: the machine may have been suspended.
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2).Sub(time.Now().Round(0))
}

// until is when the certificate ends, for the log.
func (k *Keeper) until() time.Time {
	if leaf := k.Leaf(); leaf != nil {
		return leaf.NotAfter
	}
	return time.Time{}
}

func (k *Keeper) log() *slog.Logger {
	if k.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Log
}

// sleep waits, and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
