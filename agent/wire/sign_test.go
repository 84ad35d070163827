package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return public, private
}

// received is the request as the control plane gets it.
func received(t testing.TB, key ed25519.PrivateKey, body string) *http.Request {
	out, err := http.NewRequest(http.MethodPost, "http://control.example/v1/agent/status?a=b%2Fc", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, wire.Sign(out, "acme.shop", "m1", key, now))
	sent, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	require.Equal(t, body, string(sent), "signing must leave the body")
	in := httptest.NewRequest(out.Method, out.URL.RequestURI(), bytes.NewReader(sent))
	in.Header = out.Header
	return in
}

func TestSignAndVerify(t *testing.T) {
	public, private := newKey(t)
	for _, body := range []string{"", `{"seq":1}`} {
		r := received(t, private, body)
		s, ok, err := wire.ParseSigned(r)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "acme.shop", s.Cluster)
		require.Equal(t, "m1", s.Member)
		require.NoError(t, s.Verify(public, now.Add(wire.Skew)))
		left, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, body, string(left), "the handler still reads the body")
	}
}

func TestVerifyRefuses(t *testing.T) {
	public, private := newKey(t)
	stranger, _ := newKey(t)
	tests := []struct {
		name  string
		spoil func(r *http.Request)
		key   ed25519.PublicKey
		at    time.Time
	}{
		{name: "another method", spoil: func(r *http.Request) { r.Method = http.MethodPut }},
		{name: "another path", spoil: func(r *http.Request) { r.URL.Path = "/v1/agent/logs" }},
		{name: "another query", spoil: func(r *http.Request) { r.URL.RawQuery = "a=d" }},
		{name: "another body", spoil: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }},
		{name: "another member", spoil: replaceIn("m1", "m2")},
		{name: "another cluster", spoil: replaceIn("acme", "evil")},
		{name: "another time", spoil: replaceIn(fmt.Sprint(now.Unix()), fmt.Sprint(now.Unix()+1))},
		{name: "another key", key: stranger},
		{name: "no key", key: ed25519.PublicKey{}},
		{name: "too late", at: now.Add(wire.Skew + time.Second)},
		{name: "too early", at: now.Add(-wire.Skew - time.Second)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := received(t, private, `{"seq":1}`)
			if tt.spoil != nil {
				tt.spoil(r)
			}
			key, at := public, now
			if tt.key != nil {
				key = tt.key
			}
			if !tt.at.IsZero() {
				at = tt.at
			}
			s, ok, err := wire.ParseSigned(r)
			require.NoError(t, err)
			require.True(t, ok)
			err = s.Verify(key, at)
			require.ErrorIs(t, err, wire.ErrSignature)
			require.Equal(t, !tt.at.IsZero(), errors.Is(err, wire.ErrClock), "whether only the time is wrong")
		})
	}
}

func replaceIn(from, to string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
	}
}

func TestParseSigned(t *testing.T) {
	tests := []struct {
		name, header string
		ok           bool
	}{
		{"none", "", false},
		{"another scheme", "Bearer abc", false},
		{"empty", "Stratos-Agent ", true},
		{"too few parts", "Stratos-Agent a/b:1", true},
		{"no member", "Stratos-Agent a:1:AAAA", true},
		{"no time", "Stratos-Agent a/b:x:AAAA", true},
		{"no signature", "Stratos-Agent a/b:1:***", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", tt.header)
			_, ok, err := wire.ParseSigned(r)
			require.Equal(t, tt.ok, ok)
			if tt.ok {
				require.ErrorIs(t, err, wire.ErrSignature)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestBodyIsBounded(t *testing.T) {
	_, private := newKey(t)
	big := strings.Repeat("x", wire.MaxBody+1)
	out, err := http.NewRequest(http.MethodPost, "http://control.example/", strings.NewReader(big))
	require.NoError(t, err)
	require.ErrorContains(t, wire.Sign(out, "c", "m", private, now), "over 1048576 bytes")

	in := received(t, private, "small")
	in.Body = io.NopCloser(strings.NewReader(big))
	_, ok, err := wire.ParseSigned(in)
	require.True(t, ok)
	require.ErrorContains(t, err, "over 1048576 bytes")
}

func FuzzParseSigned(f *testing.F) {
	public, private := newKey(f)
	good := received(f, private, "body").Header.Get("Authorization")
	f.Add(good, "body")
	f.Add("Stratos-Agent a/b:1:AAAA", "")
	f.Add("Stratos-Agent :/::", "x")
	f.Add("Stratos-Agent a/b/c:-9223372036854775808:", "x")
	f.Fuzz(func(t *testing.T, header, body string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/agent/logs", strings.NewReader(body))
		r.Header["Authorization"] = []string{header}
		s, ok, err := wire.ParseSigned(r)
		if !ok || err != nil {
			return
		}
		// The path is not the one that was signed: nothing may hold.
		require.ErrorIs(t, s.Verify(public, now), wire.ErrSignature)
	})
}
