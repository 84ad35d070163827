package s3

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/gostratos/stratos/artifact"
)

const (
	digestPrefix = "sha256-"
	maxPut       = 5 << 30 // bytes; of one request, a limit of S3
)

// Put stores what r holds and returns its digest. It reads all of r into a
// file first: the digest is the name, and a request that failed can be
// repeated. A blob that is there with the right size is not sent again.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (d artifact.Digest, err error) {
	c, err := b.open(ctx)
	if err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	s, err := b.spool(ctx, r)
	if err != nil {
		return "", fmt.Errorf("put blob: %w", err)
	}
	defer func() { err = errors.Join(err, s.file.Close()) }()
	d = artifact.Digest(digestPrefix + s.sum)
	there, err := b.has(ctx, c, d, s.size)
	if err == nil && !there {
		err = b.send(ctx, c, d, s)
	}
	if err != nil {
		return "", fmt.Errorf("put blob %s: %w", d, c.explain(err))
	}
	return d, nil
}

// has reports whether a blob is there, of that size: else somebody cut it.
func (b *Blobs) has(ctx context.Context, c *client, d artifact.Digest, size int64) (bool, error) {
	out, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: &b.Bucket, Key: b.key(d)})
	switch status(err) {
	case http.StatusNotFound, http.StatusForbidden:
		return false, nil // the answer to HEAD has no body; the one to PUT says what is wrong
	}
	return err == nil && aws.ToInt64(out.ContentLength) == size, err
}

func (b *Blobs) send(ctx context.Context, c *client, d artifact.Digest, s *spooled) error {
	_, err := c.PutObject(ctx, &sdk.PutObjectInput{
		Bucket:        &b.Bucket,
		Key:           b.key(d),
		Body:          io.NewSectionReader(s.file, 0, s.size), // which nobody can close
		ContentLength: &s.size,
	}, signedSum(s.sum))
	return err
}

// signedSum makes the content's SHA-256 a part of what is signed. The SDK
// would read the file once more to compute it, or leave it out.
func signedSum(sum string) func(*sdk.Options) {
	set := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(v4.SetPayloadHash(ctx, sum), in)
	}
	return sdk.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("SignedSum", set), middleware.Before)
	})
}

// spooled is content in a file without a name.
type spooled struct {
	file *os.File
	size int64
	sum  string // SHA-256, hex
}

// spool reads all of r into a file, which is gone once it is closed, or when
// the process is killed.
func (b *Blobs) spool(ctx context.Context, r io.Reader) (s *spooled, err error) {
	if b.Dir != "" {
		if err := os.MkdirAll(b.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(b.Dir, "blob-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	limit := min(cmp.Or(b.MaxSize, maxPut), maxPut)
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(contextReader{ctx, r}, limit+1))
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("it has more than %d bytes: make it smaller, or raise MaxSize (S3 takes 5 GiB at most)", limit)
	}
	return &spooled{f, size, hex.EncodeToString(sum.Sum(nil))}, nil
}

// contextReader fails once ctx has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
