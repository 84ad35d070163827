package s3_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/s3"
	"github.com/gostratos/stratos/internal/testprograms/s3server"
	"github.com/gostratos/stratos/store"
)

const missing artifact.Digest = "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// everything calls each method and returns its error.
func everything(ctx context.Context, b *s3.Blobs) map[string]error {
	_, put := b.Put(ctx, strings.NewReader("x"))
	r, get := b.Get(ctx, missing)
	if get == nil {
		r.Close()
	}
	_, list := b.List(ctx)
	return map[string]error{"check": b.Check(ctx), "put": put, "get": get, "list": list, "delete": b.Delete(ctx, missing)}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	const secret = "a-wrong-secret"
	none := errors.New("the vault is shut")
	for _, c := range []struct {
		name   string
		change func(b *s3.Blobs)
		words  string
	}{
		{"wrong secret", func(b *s3.Blobs) {
			b.Credentials = credentials.NewStaticCredentialsProvider(s.AccessKey, secret, "")
		}, "set the right ones"},
		{"unknown key", func(b *s3.Blobs) {
			b.Credentials = credentials.NewStaticCredentialsProvider("nobody", secret, "")
		}, "set the right ones"},
		{"no credentials", func(b *s3.Blobs) {
			b.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, none })
		}, "set Blobs.Credentials"},
		{"no such bucket", func(b *s3.Blobs) { b.Bucket = "absent" }, "create the bucket"},
		{"no bucket", func(b *s3.Blobs) { b.Bucket = "" }, "set Blobs.Bucket"},
		{"in the clear", func(b *s3.Blobs) { b.Endpoint = "http://s3.example.org" }, "use https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := in(s)
			c.change(b)
			for method, err := range everything(t.Context(), b) {
				require.ErrorContains(t, err, c.words, method)
				require.NotErrorIs(t, err, store.ErrNotFound, method)
				require.NotContains(t, err.Error(), secret, method)
			}
		})
	}
	require.NoError(t, in(s).Check(t.Context()))
}

func TestServerAwayAndBack(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	b := in(s)
	b.Attempts = 2
	d, err := b.Put(t.Context(), strings.NewReader("hello"))
	require.NoError(t, err)
	s.Stop()
	for method, err := range everything(t.Context(), b) {
		require.ErrorContains(t, err, s.Endpoint, method)
		require.NotErrorIs(t, err, store.ErrNotFound, method)
	}
	s.Restart()
	r, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	require.Equal(t, "hello", string(content))
}

// behind puts a proxy between blobs and their server.
func behind(t *testing.T, s *s3server.Server, p *httputil.ReverseProxy) *s3.Blobs {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	require.NoError(t, err)
	change := p.Rewrite
	p.Rewrite = func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host // which is signed
		if change != nil {
			change(r)
		}
	}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	b := in(s)
	b.Endpoint, b.Attempts = front.URL, 2
	return b
}

func TestTLSChecksTheServer(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	target, err := url.Parse(s.Endpoint)
	require.NoError(t, err)
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}})
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of whom does not trust it
	front.StartTLS()
	t.Cleanup(front.Close)

	stranger := in(s)
	stranger.Endpoint, stranger.Attempts = front.URL, 1
	require.ErrorContains(t, stranger.Check(t.Context()), "certificate")
	trusting := in(s)
	trusting.Endpoint, trusting.RootCAs = front.URL, x509.NewCertPool()
	trusting.RootCAs.AddCert(front.Certificate())
	_, err = trusting.Put(t.Context(), strings.NewReader(strings.Repeat("hello", 1_000_000)))
	require.NoError(t, err)
}

type readCloser struct {
	io.Reader
	io.Closer
}

func TestCutBodiesAreErrors(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	content := bytes.Repeat([]byte("0123456789"), 200_000)
	d, err := in(s).Put(t.Context(), bytes.NewReader(content))
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		cut  func(res *http.Response)
	}{
		{"the connection breaks", func(res *http.Response) {
			res.Body = readCloser{io.LimitReader(res.Body, 1_000_000), res.Body}
		}},
		{"the end looks like one", func(res *http.Response) {
			res.Body = readCloser{io.LimitReader(res.Body, 1_000_000), res.Body}
			res.ContentLength = 1_000_000
			res.Header.Set("Content-Length", "1000000")
		}},
		{"without a length", func(res *http.Response) {
			res.Body = readCloser{io.LimitReader(res.Body, 1_000_000), res.Body}
			res.ContentLength = -1
			res.Header.Del("Content-Length")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := behind(t, s, &httputil.ReverseProxy{ModifyResponse: func(res *http.Response) error { c.cut(res); return nil }})
			r, err := b.Get(t.Context(), d)
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.ErrorContains(t, err, string(d))
			require.NoError(t, r.Close())
			require.LessOrEqual(t, len(got), 1_000_000)
		})
	}
}

func TestUploadsChangedOnTheWayAreRefused(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	for _, c := range []struct {
		name   string
		change func(r *http.Request)
	}{
		{"other content", func(r *http.Request) {
			r.Body = readCloser{io.MultiReader(strings.NewReader("X"), io.LimitReader(r.Body, r.ContentLength-1)), r.Body}
		}},
		{"cut", func(r *http.Request) {
			r.ContentLength--
			r.Body = readCloser{io.LimitReader(r.Body, r.ContentLength), r.Body}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := behind(t, s, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				if r.Out.Method == http.MethodPut {
					c.change(r.Out)
				}
			}})
			_, err := b.Put(t.Context(), strings.NewReader(strings.Repeat("hello", 1000)))
			require.Error(t, err)
			all, err := in(s).List(t.Context())
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

func TestListsAreWholeOrAnError(t *testing.T) {
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>`+string(missing)+`</Key></Contents></ListBucketResult>`)
	}))
	t.Cleanup(fake.Close)
	b := &s3.Blobs{Bucket: "blobs", Endpoint: fake.URL, PathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	all, err := b.List(t.Context())
	require.ErrorContains(t, err, "not how to go on")
	require.Empty(t, all)
}

func TestStandstillIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(fake.Close)
	t.Cleanup(func() { close(release) })
	b := &s3.Blobs{
		Bucket: "blobs", Endpoint: fake.URL, PathStyle: true, Attempts: 2, Stall: 50 * time.Millisecond,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}
	require.ErrorIs(t, b.Check(t.Context()), os.ErrDeadlineExceeded)
}

func TestNothingFollowsARedirect(t *testing.T) {
	var followed bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	t.Cleanup(other.Close)
	fake := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(fake.Close)
	b := &s3.Blobs{Bucket: "blobs", Endpoint: fake.URL, PathStyle: true, Attempts: 1, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	for method, err := range everything(t.Context(), b) {
		require.Error(t, err, method)
	}
	require.False(t, followed)
}

func TestSpoolLeavesNothing(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	b := in(s)
	b.Dir, b.MaxSize = filepath.Join(t.TempDir(), "new"), 10
	_, err := b.Put(t.Context(), strings.NewReader("0123456789"))
	require.NoError(t, err)
	_, err = b.Put(t.Context(), strings.NewReader("0123456789a"))
	require.ErrorContains(t, err, "MaxSize")
	left, err := os.ReadDir(b.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestConflictIsTriedAgain(t *testing.T) {
	s := s3server.Start(t, s3server.Options{})
	puts := 0
	b := behind(t, s, &httputil.ReverseProxy{ModifyResponse: func(res *http.Response) error {
		if res.Request.Method != http.MethodPut {
			return nil
		}
		if puts++; puts == 1 { // what a server says that makes a folder for another object just now
			res.StatusCode, res.Status = http.StatusConflict, "409 Conflict"
		}
		return nil
	}})
	d, err := b.Put(t.Context(), strings.NewReader("hello"))
	require.NoError(t, err)
	require.Equal(t, 2, puts)
	r, err := b.Get(t.Context(), d)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}
