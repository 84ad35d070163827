package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// errCredentials marks that there are no credentials to sign with.
var errCredentials = errors.New("no credentials")

// credentials marks the errors of a provider.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = fmt.Errorf("%w: %w", errCredentials, err)
	}
	return v, err
}

// code is what a server calls an error; empty if it was not the server.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is the HTTP status of a refusal; 0 if there was no answer.
func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// explain adds to an error where it happened and what to do about it.
func (c *client) explain(err error) error {
	err = fmt.Errorf("bucket %q at %s: %w", c.bucket, c.where, err)
	if cure := cureFor(err); cure != "" {
		return fmt.Errorf("%w: %s", err, cure)
	}
	return err
}

func cureFor(err error) string {
	if errors.Is(err, errCredentials) {
		return "set Blobs.Credentials, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	}
	switch code(err) {
	case "NoSuchBucket":
		return "create the bucket, or correct Blobs.Bucket"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired",
		"XAdminUserNotFound": // which is versitygw's word for the first
		return "the server refuses the credentials: set the right ones"
	case "AccessDenied", "Forbidden":
		return "allow these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on its objects"
	case "RequestTimeTooSkewed", "RequestExpired":
		return "set this machine's clock, or the server's: they differ too much"
	case "PermanentRedirect", "TemporaryRedirect", "MovedPermanently", "AuthorizationHeaderMalformed":
		return "set Blobs.Region to the one of the bucket"
	}
	return ""
}
