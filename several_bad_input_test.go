package stratos_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bbolt "go.etcd.io/bbolt"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

// contentsOf are the files below a folder, with all that must not change.
func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}))
	return all
}

// TestBadDataFile: a data file that cannot be used is said to be so, with the
// cure, and stays as it is.
func TestBadDataFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		says   []string
	}{
		{"corrupt", func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			for i := 2 * 4096; i < len(text); i++ {
				text[i] ^= 0x55
			}
			require.NoError(t, os.WriteFile(path, text, 0o600))
		}, []string{"damaged", "restore a backup"}},
		{"truncated", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 3*4096)) }, []string{"cut off", "restore a backup"}},
		{"empty", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, []string{"empty", "restore a backup"}},
		{"of a newer version", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 99))
			}))
			require.NoError(t, db.Close())
		}, []string{"newer program"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
			p, err := stratos.New(cfg)
			require.NoError(t, err)
			require.NoError(t, p.Close())
			path := filepath.Join(cfg.Dir, "stratos.db")
			c.damage(t, path)
			before := contentsOf(t, cfg.Dir)
			_, err = stratos.New(cfg)
			require.ErrorContains(t, err, path)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.Equal(t, before, contentsOf(t, cfg.Dir), "something was changed")
		})
	}
}

// replicaConfig is a replica's, with a data folder of its own; the replicas of
// one test share their instances.
func replicaConfig(t *testing.T, s store.Store, instances string) stratos.Config {
	t.Helper()
	cfg := testConfig(t, filepath.Join(t.TempDir(), "data"))
	cfg.Accounts = []*cloud.Account{{Name: "here", Driver: &local.Driver{Dir: instances}}}
	cfg.Store, cfg.Balancer = s, balancer.Elsewhere{}
	cfg.Blobs = &artifact.DirBlobs{Path: filepath.Join(t.TempDir(), "blobs")}
	return cfg
}

// TestMasterKey: a replica without the platform's master key, or with another
// one, is refused, and no key is made in its place.
func TestMasterKey(t *testing.T) {
	s := mem.New()
	defer func() { require.NoError(t, s.Close()) }()
	instances := t.TempDir()
	first := replicaConfig(t, s, instances)
	p, err := stratos.New(first)
	require.NoError(t, err)
	require.NoError(t, p.Close())
	key, err := os.ReadFile(filepath.Join(first.Dir, "master.key"))
	require.NoError(t, err)

	other := filepath.Join(t.TempDir(), "other.key")
	_, err = ca.LoadOrMakeKey(other)
	require.NoError(t, err)
	open := filepath.Join(t.TempDir(), "open.key")
	require.NoError(t, os.WriteFile(open, key, 0o644))
	short := filepath.Join(t.TempDir(), "short.key")
	require.NoError(t, os.WriteFile(short, key[:10], 0o600))
	for _, c := range []struct {
		name, path string
		says       []string
	}{
		{"lost", filepath.Join(t.TempDir(), "none.key"), []string{"there is no master key at", "copy it from the replica that was started first"}},
		{"another one", other, []string{"is not this platform's master key", "copy it from the replica that was started first"}},
		{"readable by all", open, []string{"can be read by others", "chmod 600"}},
		{"cut short", short, []string{"holds no master key", "restore it from its backup"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := replicaConfig(t, s, instances)
			cfg.MasterKey = c.path
			before := contentsOf(t, filepath.Dir(c.path))
			_, err := stratos.New(cfg)
			require.ErrorContains(t, err, c.path)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.NotContains(t, err.Error(), string(key[:10]), "a secret in an error")
			require.Equal(t, before, contentsOf(t, filepath.Dir(c.path)), "something was made")
			require.NoFileExists(t, filepath.Join(cfg.Dir, "admin.token"))
		})
	}
	second := replicaConfig(t, s, instances)
	second.MasterKey = filepath.Join(first.Dir, "master.key")
	p, err = stratos.New(second)
	require.NoError(t, err)
	require.NoError(t, p.Close())
}

// TestBadReplica: addresses and certificates that cannot work are refused
// before anything is made.
func TestBadReplica(t *testing.T) {
	authority, err := ca.New("test", time.Now())
	require.NoError(t, err)
	stranger, err := ca.New("stranger", time.Now())
	require.NoError(t, err)
	issue := func(a *ca.Authority, name string, at time.Time) *tls.Certificate {
		c, err := a.Server([]string{name}, ca.Identity{Kind: ca.Replica, Name: "r"}, at)
		require.NoError(t, err)
		return &c
	}
	old, err := ca.New("old", time.Now().Add(-100*24*time.Hour))
	require.NoError(t, err)
	mixed := *issue(authority, "10.0.0.1", time.Now())
	mixed.PrivateKey = issue(authority, "10.0.0.1", time.Now()).PrivateKey
	cert, key, err := authority.PEM()
	require.NoError(t, err)
	_, othersKey, err := stranger.PEM()
	require.NoError(t, err)
	shows := func(c *tls.Certificate, a *ca.Authority) func(*stratos.Config) {
		return func(cfg *stratos.Config) { cfg.TLS = stratos.TLS{Certificate: c, Roots: a.CertPEM()} }
	}
	for _, c := range []struct {
		name   string
		change func(*stratos.Config)
		says   string
	}{
		{"its own URL is plain", func(c *stratos.Config) { c.URL = "http://10.0.0.1:8080" }, `replica "http://10.0.0.1:8080": the API at 10.0.0.1:8080 is https`},
		{"another replica is plain", func(c *stratos.Config) { c.Replicas = []string{c.URL, "http://10.0.0.2:8080"} }, `replica "http://10.0.0.2:8080"`},
		{"a replica with a path", func(c *stratos.Config) { c.Replicas = []string{"https://10.0.0.2:8080/v1"} }, "its address and nothing else"},
		{"a replica with a password", func(c *stratos.Config) { c.Replicas = []string{"https://a:secret@10.0.0.2:8080"} }, "its address and nothing else"},
		{"a replica without a scheme", func(c *stratos.Config) { c.Replicas = []string{"10.0.0.2:8080"} }, "its address and nothing else"},
		{"every address", func(c *stratos.Config) { c.API, c.URL = "0.0.0.0:8080", "" }, "say with URL where others reach it"},
		{"an authority without a key", func(c *stratos.Config) { c.TLS.CACert = cert }, "TLS.CACert and TLS.CAKey belong together"},
		{"a key without an authority", func(c *stratos.Config) { c.TLS.CAKey = key }, "TLS.CACert and TLS.CAKey belong together"},
		{"another authority's key", func(c *stratos.Config) { c.TLS.CACert, c.TLS.CAKey = cert, othersKey }, "the key is not that of the authority"},
		{"a certificate with another key", shows(&mixed, authority), "TLS.Certificate and its private key do not belong together"},
		{"a certificate without a key", func(c *stratos.Config) {
			bare := *issue(authority, "10.0.0.1", time.Now())
			bare.PrivateKey = nil
			shows(&bare, authority)(c)
		}, "no private key"},
		{"an empty certificate", shows(&tls.Certificate{}, authority), "TLS.Certificate is empty"},
		{"a certificate for another name", shows(issue(authority, "10.0.0.2", time.Now()), authority), "valid for 10.0.0.2, not 10.0.0.1"},
		{"an expired certificate", shows(issue(old, "10.0.0.1", time.Now().Add(-99*24*time.Hour)), old), "expired"},
		{"a certificate that the roots do not know", shows(issue(authority, "10.0.0.1", time.Now()), stranger), "unknown authority"},
		{"roots that are none", func(c *stratos.Config) {
			c.TLS.Certificate, c.TLS.Roots = issue(authority, "10.0.0.1", time.Now()), []byte("hello")
		}, "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := replicaConfig(t, mem.New(), t.TempDir())
			cfg.API, cfg.URL = "10.0.0.1:8080", "https://10.0.0.1:8080"
			c.change(&cfg)
			_, err := stratos.New(cfg)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "secret")
			require.NoFileExists(t, filepath.Join(cfg.Dir, "admin.token"))
		})
	}
}

// TestTwins: two replicas that call themselves by the same address do not take
// the leadership from each other again and again, and say what is wrong.
func TestTwins(t *testing.T) {
	s := mem.New()
	defer func() { require.NoError(t, s.Close()) }()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url := "http://" + freeAddr(t)
	key, instances := "", t.TempDir()
	start := func(log *syncBuffer) (done chan error) {
		cfg := replicaConfig(t, s, instances)
		cfg.URL, cfg.Replicas, cfg.MasterKey = url, []string{url}, key
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
		p, err := stratos.New(cfg)
		require.NoError(t, err)
		key = filepath.Join(cfg.Dir, "master.key")
		done = make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		return done
	}
	var one, two syncBuffer
	first := start(&one)
	require.Eventually(t, func() bool { return strings.Contains(one.String(), "msg=leading") }, patience, 10*time.Millisecond)
	second := start(&two)
	require.Eventually(t, func() bool { return strings.Contains(two.String(), "another control plane has this one's address") }, patience, 10*time.Millisecond)
	require.Contains(t, two.String(), url)
	stop()
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	require.NotContains(t, one.String()+two.String(), "no longer the leader")
	require.NotContains(t, one.String(), "another control plane")
}
