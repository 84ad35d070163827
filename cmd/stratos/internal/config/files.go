package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact/s3"
	"github.com/gostratos/stratos/internal/ca"
	"github.com/gostratos/stratos/store/etcd"
)

// bucketTimeout bounds the look at a bucket when the platform starts.
const bucketTimeout = 20 * time.Second

// DataDir is the folder where everything is kept.
func (f *File) DataDir() string {
	if f.Dir == "" {
		return f.Name + ".data"
	}
	return f.Dir
}

// MasterKeyFile is where the master key is.
func (f *File) MasterKeyFile() string {
	if f.MasterKey == "" {
		return filepath.Join(f.DataDir(), "master.key")
	}
	return f.MasterKey
}

// Open is [File.Platform], with the files read that it names and its store
// opened; closing it is up to the caller.
func (f *File) Open(ctx context.Context, log *slog.Logger) (c stratos.Config, closeStore func() error, err error) {
	c, closeStore = f.Platform(log), func() error { return nil }
	if c.TLS, err = f.TLS.read(); err != nil {
		return c, closeStore, err
	}
	blobs, err := f.Bucket()
	if err != nil {
		return c, closeStore, err
	}
	if blobs != nil {
		bounded, cancel := context.WithTimeout(ctx, bucketTimeout)
		defer cancel()
		if err := blobs.Check(bounded); err != nil {
			return c, closeStore, fmt.Errorf("blobs.s3: releases cannot be kept: %w", err)
		}
		c.Blobs = blobs
		if c.Backups, err = f.backups(); err != nil {
			return c, closeStore, err
		}
	}
	cluster, err := f.EtcdConfig(log)
	if err != nil || cluster == nil {
		return c, closeStore, err
	}
	s, err := etcd.Open(ctx, *cluster)
	if err != nil {
		return c, closeStore, err
	}
	c.Store = s
	return c, s.Close, nil
}

// CheckFiles says what is wrong with the files that are named: all of it. It
// contacts nobody and changes nothing.
func (f *File) CheckFiles() error {
	t, tlsErr := f.TLS.read()
	if tlsErr == nil && len(t.CACert) > 0 {
		if _, err := ca.Load(t.CACert, t.CAKey); err != nil {
			tlsErr = fmt.Errorf("tls.caCert: %w", err)
		}
	}
	if tlsErr == nil && len(t.Roots) > 0 {
		if _, err := ca.Pool(t.Roots); err != nil {
			tlsErr = fmt.Errorf("tls.roots: %s: %w", f.TLS.Roots, err)
		}
	}
	_, etcdErr := f.EtcdConfig(nil)
	_, bucketErr := f.Bucket()
	return errors.Join(f.checkMasterKey(), tlsErr, etcdErr, bucketErr)
}

// checkMasterKey reads the master key, if it is there already.
func (f *File) checkMasterKey() error {
	path := f.MasterKeyFile()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // the first control plane makes it
	}
	_, err := ca.LoadOrMakeKey(path)
	return err
}

func (t *TLS) read() (out stratos.TLS, err error) {
	if t == nil {
		return out, nil
	}
	if t.CACert != "" {
		if out.CACert, err = readFile("tls.caCert", t.CACert); err != nil {
			return out, err
		}
		if out.CAKey, err = readFile("tls.caKey", t.CAKey); err != nil {
			return out, err
		}
	}
	if t.Cert != "" {
		if out.Certificate, err = readPair("tls.cert", t.Cert, t.Key); err != nil {
			return out, err
		}
		if out.Roots, err = readFile("tls.roots", t.Roots); err != nil {
			return out, err
		}
	}
	return out, nil
}

// EtcdConfig is how the etcd cluster is reached; nil if there is none. It
// reads the files that are named.
func (f *File) EtcdConfig(log *slog.Logger) (*etcd.Config, error) {
	if f.Store == nil {
		return nil, nil
	}
	e := f.Store.Etcd
	c := &etcd.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, Username: e.Username, Log: log}
	if e.PasswordFile != "" {
		text, err := readFile("store.etcd.passwordFile", e.PasswordFile)
		if err != nil {
			return nil, err
		}
		if c.Password = strings.TrimSpace(string(text)); c.Password == "" {
			return nil, fmt.Errorf("store.etcd.passwordFile: %s is empty", e.PasswordFile)
		}
	}
	if !e.secure() {
		return c, nil
	}
	roots, err := readPool("store.etcd.ca", e.CA)
	if err != nil {
		return nil, err
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if e.Cert != "" {
		own, err := readPair("store.etcd.cert", e.Cert, e.Key)
		if err != nil {
			return nil, err
		}
		c.TLS.Certificates = []tls.Certificate{*own}
	}
	return c, nil
}

// Bucket is where releases are kept; nil if in a folder. It reads the files
// that are named, and contacts nobody.
func (f *File) Bucket() (*s3.Blobs, error) {
	if f.Blobs == nil {
		return nil, nil
	}
	s := f.Blobs.S3
	roots, err := readPool("blobs.s3.ca", s.CA)
	if err != nil {
		return nil, err
	}
	return &s3.Blobs{
		Bucket: s.Bucket, Prefix: s.Prefix, Endpoint: s.Endpoint, Region: s.Region,
		PathStyle: s.PathStyle, RootCAs: roots,
	}, nil
}

// backups is where backups of services are kept: beside the releases, under
// names that are none of theirs.
func (f *File) backups() (*s3.Blobs, error) {
	b, err := f.Bucket()
	if err == nil {
		b.Prefix += "backups/"
	}
	return b, err
}

// maxFile is the largest file of certificates, bytes.
const maxFile = 1 << 20

// readFile reads a file that a field names.
func readFile(field, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", field, err)
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %s is not a file of at most %d bytes", field, path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return text, nil
}

// readPool reads certificates to verify with; nil: the system's.
func readPool(field, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readFile(field, path)
	if err != nil {
		return nil, err
	}
	pool, err := ca.Pool(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", field, path, err)
	}
	return pool, nil
}

// readPair reads a certificate and its key.
func readPair(field, cert, key string) (*tls.Certificate, error) {
	certText, err := readFile(field, cert)
	if err != nil {
		return nil, err
	}
	keyText, err := readFile(strings.TrimSuffix(field, "cert")+"key", key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, fmt.Errorf("%s: %s with %s: %w", field, cert, key, err)
	}
	return &pair, nil
}
