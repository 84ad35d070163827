package ca_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/ca"
)

var masterKey = bytes.Repeat([]byte{7}, ca.KeySize)

func TestSealAndOpen(t *testing.T) {
	for _, plain := range []string{"", "the authority's key"} {
		sealed, err := ca.Seal(masterKey, "ca", []byte(plain))
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "authority")
		again, err := ca.Seal(masterKey, "ca", []byte(plain))
		require.NoError(t, err)
		require.NotEqual(t, sealed, again)
		opened, err := ca.Open(masterKey, "ca", sealed)
		require.NoError(t, err)
		require.Equal(t, plain, string(opened))
	}
}

func TestOpenRefuses(t *testing.T) {
	sealed, err := ca.Seal(masterKey, "ca", []byte("secret"))
	require.NoError(t, err)
	newer := bytes.Clone(sealed)
	newer[0] = 2
	for _, test := range []struct {
		name, as string
		key      []byte
		sealed   []byte
		says     string
	}{
		{"another master key", "ca", bytes.Repeat([]byte{8}, ca.KeySize), sealed, "another master key: bring the key"},
		{"a short master key", "ca", []byte("x"), sealed, "not 32"},
		{"another name", "binding", masterKey, sealed, "sealed as something else"},
		{"no name", "", masterKey, sealed, "needs a name"},
		{"a newer version", "ca", masterKey, newer, "version 2"},
		{"nothing", "ca", masterKey, nil, "cut short"},
		{"a part", "ca", masterKey, sealed[:30], "cut short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ca.Open(test.key, test.as, test.sealed)
			require.ErrorContains(t, err, test.says)
		})
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x80
		_, err := ca.Open(masterKey, "ca", changed)
		require.Error(t, err, "byte %d", i)
	}
}

func FuzzOpen(f *testing.F) {
	sealed, err := ca.Seal(masterKey, "ca", []byte("secret"))
	require.NoError(f, err)
	f.Add(sealed)
	f.Add(sealed[:9])
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := ca.Open(masterKey, "ca", b); err == nil {
			require.Equal(t, "secret", string(plain), "what was never sealed opens")
		}
	})
}

func FuzzLoad(f *testing.F) {
	cert, key, err := newAuthority(f, "p").PEM()
	require.NoError(f, err)
	f.Add(cert, key)
	f.Add(key, cert)
	f.Add(append(cert, cert...), []byte("-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), key)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		a, err := ca.Load(cert, key)
		if err != nil {
			return
		}
		certAgain, keyAgain, err := a.PEM()
		require.NoError(t, err)
		_, err = ca.Load(certAgain, keyAgain)
		require.NoError(t, err)
		_, err = ca.Pool(a.CertPEM())
		require.NoError(t, err)
	})
}

func TestLoadOrMakeKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var wg sync.WaitGroup
	keys := make([][]byte, 8) // several that start at once get the same key
	for i := range keys {
		wg.Go(func() {
			key, err := ca.LoadOrMakeKey(path)
			if err == nil {
				keys[i] = key
			}
		})
	}
	wg.Wait()
	require.Len(t, keys[0], ca.KeySize)
	for _, key := range keys {
		require.Equal(t, keys[0], key)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left")
}

func TestLoadOrMakeKeyRefuses(t *testing.T) {
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		says       string
	}{
		{"readable by the group", "x", 0o640, "run chmod 600"},
		{"readable by the world", "x", 0o604, "run chmod 600"},
		{"empty", "", 0o600, "holds no master key"},
		{"no base64", "s3cret!", 0o600, "holds no master key"},
		{"too short", "AAAA", 0o600, "holds no master key"},
		{"too long", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0o600, "holds no master key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			require.NoError(t, os.WriteFile(path, []byte(test.text), test.mode))
			_, err := ca.LoadOrMakeKey(path)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "s3cret")
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, test.text, string(left), "what is there is not touched")
		})
	}
	_, err := ca.LoadOrMakeKey(t.TempDir())
	require.ErrorContains(t, err, "is not a file")
	_, err = ca.LoadOrMakeKey(filepath.Join(t.TempDir(), "none", "key"))
	require.ErrorContains(t, err, "making the master key")
}
