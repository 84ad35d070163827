package s3_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
	"github.com/gostratos/stratos/artifact/s3"
	"github.com/gostratos/stratos/internal/testprograms/s3server"
)

// in returns blobs in the bucket of a server.
func in(s *s3server.Server) *s3.Blobs {
	return &s3.Blobs{
		Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	}
}

func TestBlobsKeepThePromises(t *testing.T) {
	for _, c := range []struct{ name, prefix string }{
		{"at the root", ""},
		{"in a folder", "platform/blobs/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			artifacttest.RunBlobs(t, func(t testing.TB) artifacttest.Place {
				s := s3server.Start(t, s3server.Options{})
				return artifacttest.Place{
					Open: func() artifact.Blobs {
						b := in(s)
						b.Prefix = c.prefix
						return b
					},
					Overwrite: func(d artifact.Digest, content string) {
						path := filepath.Join(s.Dir, filepath.FromSlash(c.prefix), string(d))
						require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
					},
				}
			})
		})
	}
}
