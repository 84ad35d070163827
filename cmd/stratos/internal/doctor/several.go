package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gostratos/stratos/internal/ca"
)

// bucketTimeout bounds the look at the bucket.
const bucketTimeout = 15 * time.Second

// several looks at what the replicas of a control plane share.
func (d *Doctor) several(ctx context.Context) []Finding {
	found := d.etcdServers(ctx)
	found = append(found, d.bucket(ctx)...)
	found = append(found, d.masterKey()...)
	for _, c := range d.Certificates {
		found = append(found, c.check(d.Now)...)
	}
	return found
}

func (d *Doctor) bucket(ctx context.Context) []Finding {
	if d.Bucket == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	if err := d.Bucket.Check(ctx); err != nil {
		return []Finding{{Check: "bucket", Status: Fail, Detail: err.Error(), Cure: "see blobs.s3 in the configuration, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of serve"}}
	}
	return []Finding{{Check: "bucket", Status: OK, Detail: d.Bucket.Bucket + " can be read"}}
}

// masterKey checks that the key is one, and for nobody else to read.
func (d *Doctor) masterKey() []Finding {
	if d.MasterKey == "" {
		return nil
	}
	f := Finding{Check: "master key", Status: OK, Detail: d.MasterKey + " is there, and only its owner can read it"}
	_, err := os.Stat(d.MasterKey)
	if err == nil {
		_, err = ca.LoadOrMakeKey(d.MasterKey) // it is there: nothing is made
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Detail = d.MasterKey + " is not there: the first control plane makes it; copy it to the others before they start, and keep a copy"
	case err != nil:
		f.Status, f.Detail = Fail, err.Error()
		f.Cure = "chmod 600 " + d.MasterKey + ", as the user that runs serve; if it was changed or lost, bring it back from its copy"
	}
	return []Finding{f}
}

// Certificate is a file of certificates, PEM, that somebody has to renew.
type Certificate struct {
	Check string // what it is called in findings
	Path  string
	Cure  string // what to do when it ends
	// Optional says that the file need not be there.
	Optional bool
}

// soon is how long before its end a certificate is to be renewed.
const soon = 30 * 24 * time.Hour

// check looks at how long each certificate of the file is valid.
func (c Certificate) check(now time.Time) []Finding {
	text, err := os.ReadFile(c.Path)
	if c.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []Finding{{Check: c.Check, Status: Fail, Detail: err.Error(), Cure: c.Cure}}
	}
	var found []Finding
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // a key beside it is not ours to look at
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return []Finding{{Check: c.Check, Status: Fail, Detail: fmt.Sprintf("%s: %v", c.Path, err), Cure: c.Cure}}
		}
		found = append(found, c.judge(cert, now))
	}
	if len(found) == 0 {
		return []Finding{{Check: c.Check, Status: Fail, Detail: c.Path + " holds no certificate in PEM", Cure: c.Cure}}
	}
	return found
}

func (c Certificate) judge(cert *x509.Certificate, now time.Time) Finding {
	const day = 24 * time.Hour
	name := cert.Subject.CommonName
	if name == "" && len(cert.DNSNames) > 0 {
		name = cert.DNSNames[0]
	}
	f := Finding{Check: c.Check, Status: OK, Detail: fmt.Sprintf("%s: %q is valid until %s", c.Path, name, cert.NotAfter.UTC().Format(time.DateOnly))}
	switch left := cert.NotAfter.Sub(now); {
	case now.Before(cert.NotBefore):
		f.Status, f.Detail = Fail, fmt.Sprintf("%s: %q is valid from %s on, which is to come", c.Path, name, cert.NotBefore.UTC().Format(time.RFC3339))
		f.Cure = "set the clock: timedatectl set-ntp true, or wait"
	case left <= 0:
		f.Status, f.Detail, f.Cure = Fail, fmt.Sprintf("%s: %q ended on %s", c.Path, name, cert.NotAfter.UTC().Format(time.DateOnly)), c.Cure
	case left < soon:
		f.Status, f.Cure = Warn, c.Cure
		f.Detail += fmt.Sprintf(", for %d days", left/day)
	}
	return f
}
