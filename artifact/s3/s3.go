// Package s3 keeps blobs in a bucket of Amazon S3, or of any server that
// speaks its protocol, so that several control planes share them.
//
// A blob is one object, called by its digest. It is written with one request
// that carries the digest: the server computes it, too, and refuses what was
// changed or cut on the way. An object is there whole or not at all, and there
// are no parts that an interrupted upload could leave behind.
package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
)

// Blobs are [artifact.Blobs] in a bucket. Nothing is contacted before the
// first call; [Blobs.Check] makes one that says what is wrong.
//
// The fields are set before the first use and not changed afterwards. What is
// not set, is taken from where the AWS SDK looks: AWS_ACCESS_KEY_ID and other
// variables, the files in ~/.aws, the role of the machine.
type Blobs struct {
	// Bucket must exist. Whoever may write to it can keep releases away, but
	// not change them: readers check the digest.
	Bucket string
	// Prefix begins every key, as it is: "blobs/" makes a folder. Two platforms
	// must not share a bucket and a prefix: each deletes what it does not need.
	Prefix string
	// Endpoint is the URL of the server; empty means AWS. It must be https,
	// but on this machine.
	Endpoint string
	// Region of the bucket; "us-east-1" if none is configured anywhere.
	Region string
	// PathStyle puts the bucket into the path instead of the host name. Most
	// servers other than AWS want it.
	PathStyle bool
	// Credentials sign the requests; nil means the SDK's default chain.
	Credentials aws.CredentialsProvider
	// RootCAs are whom the server's certificate is checked against; nil means
	// the system's, and AWS_CA_BUNDLE.
	RootCAs *x509.CertPool
	// Dir is where Put keeps what it reads until it is sent, in files without a
	// name; empty means the system's folder for temporary files.
	Dir string
	// MaxSize of a blob in bytes; default and maximum 5 GiB, which is what S3
	// takes in one request.
	MaxSize int64
	// Attempts that a request has, with pauses of up to 5 s between them; default 5.
	Attempts int
	// Stall is how long a connection may stand still before it is given up;
	// default 1 minute.
	Stall time.Duration

	shared atomic.Pointer[client]
}

var _ artifact.Blobs = (*Blobs)(nil)

// Check finds out whether the bucket can be read with these credentials. The
// error says what is missing.
func (b *Blobs) Check(ctx context.Context) error {
	c, err := b.open(ctx)
	if err != nil {
		return fmt.Errorf("check bucket: %w", err)
	}
	// Unlike HeadBucket, this one's refusals have a body that says why.
	_, err = c.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: &b.Bucket, Prefix: &b.Prefix, MaxKeys: aws.Int32(1)})
	if err != nil {
		return fmt.Errorf("check bucket: %w", c.explain(err))
	}
	return nil
}

// Get opens a blob. The reader fails at its end, instead of with io.EOF, if
// what was read is not d. It is bound to ctx and must be closed.
func (b *Blobs) Get(ctx context.Context, d artifact.Digest) (io.ReadCloser, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("blob %q is not a digest: %w", d, store.ErrNotFound)
	}
	c, err := b.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	out, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: &b.Bucket, Key: b.key(d)})
	if code(err) == "NoSuchKey" {
		return nil, fmt.Errorf("blob %s: %w", d, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", d, c.explain(err))
	}
	return artifact.VerifyReader(&body{out.Body, c, d}, d), nil
}

// body says of an error where it happened.
type body struct {
	io.ReadCloser
	c *client
	d artifact.Digest
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read blob %s: %w", b.d, b.c.explain(err))
	}
	return n, err
}

// List returns all digests. What else there is in the bucket is passed over.
func (b *Blobs) List(ctx context.Context) ([]artifact.Digest, error) {
	c, err := b.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	var all []artifact.Digest
	in := &sdk.ListObjectsV2Input{Bucket: &b.Bucket, Prefix: aws.String(b.Prefix + digestPrefix)}
	for {
		page, err := c.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list blobs: %w", c.explain(err))
		}
		for _, o := range page.Contents {
			name, ok := strings.CutPrefix(aws.ToString(o.Key), b.Prefix)
			if d := artifact.Digest(name); ok && d.Valid() {
				all = append(all, d)
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return all, nil
		}
		next := aws.ToString(page.NextContinuationToken)
		if next == "" || next == aws.ToString(in.ContinuationToken) { // the SDK's paginator would end, with half a list
			return nil, fmt.Errorf("list blobs: %w", c.explain(errors.New("the server says there is more, but not how to go on")))
		}
		in.ContinuationToken = &next
	}
}

// Delete removes a blob; one that is not there is no error. In a bucket with
// versions the space is freed by the bucket's own rules.
func (b *Blobs) Delete(ctx context.Context, d artifact.Digest) error {
	if !d.Valid() {
		return nil
	}
	c, err := b.open(ctx)
	if err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	_, err = c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: &b.Bucket, Key: b.key(d)})
	if err != nil && code(err) != "NoSuchKey" { // which S3 does not say, but some servers do
		return fmt.Errorf("delete blob %s: %w", d, c.explain(err))
	}
	return nil
}

func (b *Blobs) key(d artifact.Digest) *string { return aws.String(b.Prefix + string(d)) }
