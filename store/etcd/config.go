package etcd

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
)

const (
	defaultPrefix      = "stratos/"
	defaultDialTimeout = 5 * time.Second
	maxPrefixBytes     = 256 // so that the largest transaction stays below etcd's limit of a request
)

// complete returns c with its defaults, or says what is wrong with it.
func (c Config) complete() (Config, error) {
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case len(c.Endpoints) == 0:
		return c, errors.New("etcd: no endpoints are configured")
	case len(c.Prefix) > maxPrefixBytes:
		return c, fmt.Errorf("etcd: the prefix has %d bytes, limit %d", len(c.Prefix), maxPrefixBytes)
	case (c.Username == "") != (c.Password == ""):
		return c, errors.New("etcd: a user name and a password go together")
	}
	endpoints := make([]string, len(c.Endpoints))
	for i, e := range c.Endpoints {
		var err error
		if endpoints[i], err = endpoint(e, c.TLS != nil); err != nil {
			return c, err
		}
	}
	c.Endpoints = endpoints
	return c, nil
}

// security says how the servers are asked: one that wants it otherwise hangs up
// without a reason.
func (c Config) security() string {
	switch {
	case c.TLS == nil:
		return "without TLS"
	case len(c.TLS.Certificates) == 0 && c.TLS.GetClientCertificate == nil:
		return "with TLS, but without a client certificate"
	}
	return "with TLS and a client certificate"
}

// endpoint returns e as the client needs it: with the scheme that says whether TLS is used.
func endpoint(e string, secure bool) (string, error) {
	scheme, host, found := strings.Cut(e, "://")
	if !found {
		scheme, host = "", e
	}
	// The scheme is added again, as url.Parse takes "host:port" for "scheme:opaque".
	u, err := url.Parse("x://" + host)
	switch {
	case err != nil || u.Hostname() == "" || u.Port() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("etcd: an endpoint is not of the form host:port or scheme://host:port")
	case u.User != nil:
		return "", errors.New("etcd: an endpoint carries credentials: use Username and Password")
	case scheme != "" && scheme != "http" && scheme != "https":
		return "", fmt.Errorf("etcd: endpoint %s: the scheme is not http or https", e)
	case secure && scheme == "http":
		return "", fmt.Errorf("etcd: endpoint %s is without TLS, but TLS is configured: use https", e)
	case secure:
		return "https://" + u.Host, nil
	case scheme == "https":
		return "", fmt.Errorf("etcd: endpoint %s needs TLS: set Config.TLS", e)
	case !loopback(u.Hostname()):
		return "", fmt.Errorf("etcd: endpoint %s is on another machine: set Config.TLS", e)
	}
	return "http://" + u.Host, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
