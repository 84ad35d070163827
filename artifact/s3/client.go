package s3

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

const (
	defaultRegion   = "us-east-1"
	defaultAttempts = 5
	defaultStall    = time.Minute
	maxBackoff      = 5 * time.Second
	dialTimeout     = 10 * time.Second
)

// client is the SDK's, with the words for where it leads.
type client struct {
	*sdk.Client
	bucket, where string
}

// open returns the client, made at the first use that succeeds.
func (b *Blobs) open(ctx context.Context) (*client, error) {
	if c := b.shared.Load(); c != nil {
		return c, nil
	}
	c, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	if !b.shared.CompareAndSwap(nil, c) { // somebody was faster
		c = b.shared.Load()
	}
	return c, nil
}

func (b *Blobs) connect(ctx context.Context) (*client, error) {
	if b.Bucket == "" {
		return nil, errors.New("no bucket: set Blobs.Bucket")
	}
	if b.Endpoint != "" {
		if err := checkEndpoint(b.Endpoint); err != nil {
			return nil, err
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithCredentialsProvider(b.Credentials), // nil is the default chain
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(b.transport)),
		config.WithLogger(logging.Nop{}),
	)
	if err != nil {
		return nil, fmt.Errorf("configuration of the AWS SDK (environment, ~/.aws): %w", err)
	}
	// AWS_CA_BUNDLE has been added by now.
	if built, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = &http.Client{Transport: built.GetTransport(), CheckRedirect: noRedirect}
	}
	cfg.Region = cmp.Or(b.Region, cfg.Region, defaultRegion)
	cfg.Credentials = credentials{cfg.Credentials}
	c := sdk.NewFromConfig(cfg, b.options)
	where := "AWS, region " + cfg.Region
	if e := c.Options().BaseEndpoint; e != nil { // ours, or one of the environment
		if err := checkEndpoint(*e); err != nil {
			return nil, err
		}
		where = *e
	}
	return &client{Client: c, bucket: b.Bucket, where: where}, nil
}

func (b *Blobs) options(o *sdk.Options) {
	if b.Endpoint != "" {
		o.BaseEndpoint = &b.Endpoint
	}
	o.UsePathStyle = b.PathStyle
	// The SDK's own checksums travel in trailers, which many servers do not
	// know. Ours is in the signature, and every server checks that.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.Retryer = retry.NewStandard(func(s *retry.StandardOptions) {
		s.MaxAttempts = cmp.Or(b.Attempts, defaultAttempts)
		s.MaxBackoff = maxBackoff
		// A conflict is with another request that is on its way: both are of
		// blobs, which never change, so either may come after the other.
		s.Retryables = append(s.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusConflict: {}}})
	})
}

// transport watches the connections for standing still, rather than limit how
// long a request takes: a large release over a slow line may take its time.
func (b *Blobs) transport(t *http.Transport) {
	stall := cmp.Or(b.Stall, defaultStall)
	dialer := &net.Dialer{Timeout: dialTimeout}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{conn, stall}, nil
	}
	// One connection a request: on a shared one, a reader that pauses would
	// look as if the line stood still.
	t.ForceAttemptHTTP2 = false
	if b.RootCAs != nil {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.RootCAs = b.RootCAs
	}
}

// watched is a connection that fails when nothing moves, in either direction.
type watched struct {
	net.Conn
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.SetDeadline(time.Now().Add(w.stall)); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

func (w *watched) Write(p []byte) (int, error) {
	if err := w.SetDeadline(time.Now().Add(w.stall)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// noRedirect follows nobody: a signed request belongs to one server.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// checkEndpoint refuses URLs that would show blobs to the network. Its errors
// do not repeat what might be a password.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return errors.New("endpoint is not a URL: set Blobs.Endpoint to one like https://s3.example.org")
	case u.User != nil:
		return fmt.Errorf("endpoint at %s has credentials in it: set Blobs.Credentials instead", u.Host)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return fmt.Errorf("endpoint at %s has a query or a fragment: leave it away", u.Host)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("endpoint http://%s is not encrypted: use https, which is optional on this machine only", u.Host)
	}
	return fmt.Errorf("endpoint at %s has the scheme %q: use https", u.Host, u.Scheme)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
