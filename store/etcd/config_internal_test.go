package etcd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckVersion(t *testing.T) {
	for _, test := range []struct {
		version string
		says    string // "": accepted
	}{
		{"3.5.14", ""},
		{"3.5.15-rc.1", ""},
		{"3.10.0", ""},
		{"4.0.0+build", ""},
		{"3.5.13", "upgrade the cluster to 3.5.14"},
		{"3.4.99", "runs version 3.4.99"},
		{"2.9.20", "upgrade"},
		{"", "not a version"},
		{"3.5", "not a version"},
		{"3.5.x", "not a version"},
		{"3.-5.1", "not a version"},
	} {
		t.Run(test.version, func(t *testing.T) {
			err := checkVersion("http://[::1]:2379", test.version)
			if test.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "http://[::1]:2379")
		})
	}
}

func FuzzVersion(f *testing.F) {
	for _, seed := range []string{"3.5.14", "3.6.0-rc.1+x", "", "..", "99999999999.1.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVersion(s)
		if err != nil {
			return
		}
		for _, n := range v {
			require.GreaterOrEqual(t, n, 0)
		}
		require.False(t, v.before(v))
	})
}

func TestEndpoint(t *testing.T) {
	for _, test := range []struct {
		name, endpoint string
		secure         bool
		want, says     string
	}{
		{"loopback", "127.0.0.1:2379", false, "http://127.0.0.1:2379", ""},
		{"loopback by name", "http://localhost:2379/", false, "http://localhost:2379", ""},
		{"loopback of IPv6", "[::1]:2379", false, "http://[::1]:2379", ""},
		{"elsewhere with TLS", "etcd.example:2379", true, "https://etcd.example:2379", ""},
		{"https", "https://10.0.0.1:2379", true, "https://10.0.0.1:2379", ""},
		{"elsewhere without TLS", "10.0.0.1:2379", false, "", "set Config.TLS"},
		{"a name that only begins like loopback", "localhost.example:2379", false, "", "set Config.TLS"},
		{"https without TLS", "https://127.0.0.1:2379", false, "", "set Config.TLS"},
		{"http with TLS", "http://10.0.0.1:2379", true, "", "use https"},
		{"another scheme", "unix://127.0.0.1:2379", false, "", "scheme"},
		{"no port", "127.0.0.1", false, "", "host:port"},
		{"a path", "http://127.0.0.1:2379/v3", false, "", "host:port"},
		{"empty", "", false, "", "host:port"},
		{"credentials", "http://me:secret@127.0.0.1:2379", false, "", "credentials"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := endpoint(test.endpoint, test.secure)
			if test.says != "" {
				require.ErrorContains(t, err, test.says)
				require.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

// FuzzEndpoint: whatever is written, nothing leaves this machine without TLS.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:1", "http://localhost:1", "https://x:1", "http://a@127.0.0.1:1", "[::1%25lo]:1", "://", "x://y"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, e string, secure bool) {
		got, err := endpoint(e, secure)
		switch {
		case err != nil:
		case secure:
			require.True(t, strings.HasPrefix(got, "https://"))
		default:
			require.True(t, strings.HasPrefix(got, "http://localhost:") || strings.HasPrefix(got, "http://127.") ||
				strings.HasPrefix(got, "http://["), got)
		}
	})
}
