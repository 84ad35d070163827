package s3

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckEndpoint(t *testing.T) {
	for _, c := range []struct {
		name, endpoint, words string // no words: it is fine
	}{
		{"https", "https://s3.example.org", ""},
		{"with a port and a path", "https://s3.example.org:9000/s3", ""},
		{"this machine", "http://127.0.0.1:7070", ""},
		{"this machine, IPv6", "http://[::1]:7070", ""},
		{"this machine, by name", "http://localhost:7070", ""},
		{"in the clear", "http://s3.example.org", "use https"},
		{"looks local", "http://127.0.0.1.example.org", "use https"},
		{"no scheme", "s3.example.org", "not a URL"},
		{"no host", "https://", "not a URL"},
		{"only a port", "https://:9000", "not a URL"},
		{"other scheme", "ftp://s3.example.org", "use https"},
		{"password", "https://me:sesame@s3.example.org", "set Blobs.Credentials"},
		{"password in nonsense", "https://me:sesame@s3.example.org:x/", "not a URL"},
		{"query", "https://s3.example.org?secret=sesame", "leave it away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkEndpoint(c.endpoint)
			if c.words == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.words)
			require.NotContains(t, err.Error(), "sesame")
		})
	}
}

func FuzzCheckEndpoint(f *testing.F) {
	for _, s := range []string{"https://s3.example.org", "http://[::1]:1/x", "http://a@b", "http://localhost?", "::", "https://%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		if checkEndpoint(endpoint) != nil {
			return
		}
		u, err := url.Parse(endpoint)
		require.NoError(t, err)
		require.Nil(t, u.User)
		require.True(t, u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()), endpoint)
	})
}
