package stratos_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store/mem"
)

// offLoopback is a configuration whose API is for others, too. New does not listen.
func offLoopback(t *testing.T) stratos.Config {
	cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
	cfg.API, cfg.Store = "10.0.0.1:8080", mem.New()
	t.Cleanup(func() { require.NoError(t, cfg.Store.Close()) })
	return cfg
}

// sharing are accounts whose instances are where those of another replica are.
func sharing(with stratos.Config) []*cloud.Account {
	return []*cloud.Account{{Name: "here", Driver: &local.Driver{Dir: filepath.Join(with.Dir, "accounts", "here")}}}
}

func authority(t *testing.T) (a *ca.Authority, cert, key []byte) {
	t.Helper()
	a, err := ca.New("operator", time.Now())
	require.NoError(t, err)
	cert, key, err = a.PEM()
	require.NoError(t, err)
	return a, cert, key
}

func TestReplicasShareOneAuthority(t *testing.T) {
	one := offLoopback(t)
	p, err := stratos.New(one)
	require.NoError(t, err)
	defer p.Close()

	two := one
	two.Dir, two.API = filepath.Join(t.TempDir(), "two"), "10.0.0.2:8080"
	two.Accounts = sharing(one)
	_, err = stratos.New(two)
	require.ErrorContains(t, err, "there is no master key at")
	require.NoFileExists(t, filepath.Join(two.Dir, "master.key"), "a wrong one would open nothing")

	two.MasterKey = filepath.Join(one.Dir, "master.key")
	q, err := stratos.New(two)
	require.NoError(t, err)
	defer q.Close()
	require.Equal(t, read(t, one.Dir, "ca.pem"), read(t, two.Dir, "ca.pem"))

	three := two
	three.MasterKey, three.API = filepath.Join(t.TempDir(), "other.key"), "10.0.0.3:8080"
	_, err = ca.LoadOrMakeKey(three.MasterKey)
	require.NoError(t, err)
	_, err = stratos.New(three)
	require.ErrorContains(t, err, "another master key")
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(text)
}

func TestOperatorBringsTheAuthority(t *testing.T) {
	a, cert, key := authority(t)
	cfg := offLoopback(t)
	cfg.TLS = stratos.TLS{CACert: cert, CAKey: key}
	p, err := stratos.New(cfg)
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, string(a.CertPEM()), read(t, cfg.Dir, "ca.pem"))
}

func TestOperatorBringsTheCertificate(t *testing.T) {
	a, cert, key := authority(t)
	_, _, otherKey := authority(t)
	of := func(name string, at time.Time) *tls.Certificate {
		c, err := a.Server([]string{name}, ca.Identity{Kind: ca.Replica, Name: "api"}, at)
		require.NoError(t, err)
		return &c
	}
	for _, c := range []struct {
		name string
		tls  stratos.TLS
		says string // empty: it is good
	}{
		{"good", stratos.TLS{Certificate: of("10.0.0.1", time.Now()), Roots: cert}, ""},
		{"for another name", stratos.TLS{Certificate: of("10.0.0.9", time.Now()), Roots: cert}, "would be refused by instances"},
		{"of nobody that is known", stratos.TLS{Certificate: of("10.0.0.1", time.Now())}, "would be refused by instances"},
		{"empty", stratos.TLS{Certificate: &tls.Certificate{}, Roots: cert}, "TLS.Certificate is empty"},
		{"an authority with another's key", stratos.TLS{CACert: cert, CAKey: otherKey}, "the key is not that of the authority"},
		{"no certificate at all", stratos.TLS{CACert: []byte("x"), CAKey: key}, "the authority's certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := offLoopback(t)
			cfg.TLS = c.tls
			p, err := stratos.New(cfg)
			if c.says == "" {
				require.NoError(t, err)
				require.NoError(t, p.Close())
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Two machines whose local clouds do not see each other's instances would each
// replace the other's.
func TestReplicasShareTheirInstances(t *testing.T) {
	one := offLoopback(t)
	one.API = freeAddr(t)
	p, err := stratos.New(one)
	require.NoError(t, err)
	defer p.Close()

	two := one
	two.Dir, two.API = filepath.Join(t.TempDir(), "two"), freeAddr(t)
	two.MasterKey = filepath.Join(one.Dir, "master.key")
	two.Accounts = []*cloud.Account{{Name: "here", Driver: &local.Driver{}}}
	_, err = stratos.New(two)
	require.ErrorContains(t, err, "give all replicas the same folder")

	two.Accounts = sharing(one)
	q, err := stratos.New(two)
	require.NoError(t, err)
	require.NoError(t, q.Close())
}
