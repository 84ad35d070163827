package wire_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
)

// taken is what a server got of a body that streams.
type taken struct {
	body string
	err  error
}

// take reads a request as a control plane does.
func take(r *http.Request, key ed25519.PublicKey) (got taken) {
	s, _, err := wire.ParseStream(r)
	if err == nil {
		err = s.Verify(key, now)
	}
	if err != nil {
		return taken{err: err}
	}
	b, err := io.ReadAll(r.Body)
	if _, again := r.Body.Read(make([]byte, 1)); err == nil && !errors.Is(again, io.EOF) {
		err = fmt.Errorf("after the end: %w", again)
	}
	return taken{body: string(b), err: err}
}

// streamed sends body to a server that takes it as ParseStream wants it, and
// returns what that got.
func streamed(t *testing.T, over2 bool, key ed25519.PublicKey, private ed25519.PrivateKey, body io.Reader, spoil func(*http.Request)) (string, error) {
	all := make(chan taken, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if over2 != (r.ProtoMajor == 2) {
			t.Errorf("it came over %s", r.Proto)
		}
		all <- take(r, key)
	}))
	if srv.EnableHTTP2 = over2; over2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	defer srv.Close()
	r, err := http.NewRequest(http.MethodPut, srv.URL+"/v1/agent/jobs/1", io.NopCloser(body))
	require.NoError(t, err)
	r.ContentLength = -1
	require.NoError(t, wire.SignStream(r, "acme.shop", "m1", private, now))
	if spoil != nil {
		spoil(r)
	}
	resp, err := srv.Client().Do(r)
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	select {
	case got := <-all:
		return got.body, got.err
	case <-time.After(20 * time.Second):
		t.Fatal("the request did not arrive")
		return "", nil
	}
}

func TestSignStream(t *testing.T) {
	public, private := newKey(t)
	for _, over2 := range []bool{false, true} {
		for _, body := range []string{"", "x", strings.Repeat("much more than one request may hold ", wire.MaxBody/16)} {
			got, err := streamed(t, over2, public, private, strings.NewReader(body), nil)
			require.NoError(t, err)
			require.Equal(t, body, got)
		}
	}
}

func TestStreamThatIsNotWholeIsRefused(t *testing.T) {
	public, private := newKey(t)
	stranger, _ := newKey(t)
	tests := []struct {
		name      string
		broken    bool
		key       ed25519.PublicKey
		spoil     func(*http.Request)
		signature bool
	}{
		{name: "another key", key: stranger, signature: true},
		{name: "another path", spoil: func(r *http.Request) { r.URL.Path += "2" }, signature: true},
		{name: "another body", spoil: func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(r.Body, strings.NewReader("more"))) }, signature: true},
		{name: "no trailer", spoil: func(r *http.Request) { r.Trailer = nil; r.Body = io.NopCloser(strings.NewReader("body")) }, signature: true},
		{name: "breaks off", broken: true},
		{name: "signed as a whole body", spoil: func(r *http.Request) {
			r.Body = http.NoBody
			require.NoError(t, wire.Sign(r, "acme.shop", "m1", private, now))
		}, signature: true},
	}
	for i, tt := range append(tests, tests...) {
		over2 := i >= len(tests)
		t.Run(tt.name, func(t *testing.T) {
			var body io.Reader
			key := public
			if tt.broken {
				body = io.MultiReader(strings.NewReader(strings.Repeat("bo", 1<<17)), iotest.ErrReader(errors.New("the program failed")))
			} else {
				body = strings.NewReader("body")
			}
			if tt.key != nil {
				key = tt.key
			}
			_, err := streamed(t, over2, key, private, body, tt.spoil)
			require.Error(t, err)
			require.Equal(t, tt.signature, errors.Is(err, wire.ErrSignature), err)
		})
	}
}

// A request that streams is not taken for one whose body is in its signature.
func TestStreamIsNoSignedRequest(t *testing.T) {
	public, private := newKey(t)
	r := httptest.NewRequest(http.MethodPut, "/v1/agent/jobs/1", strings.NewReader("body"))
	require.NoError(t, wire.SignStream(r, "acme.shop", "m1", private, now))
	s, ok, err := wire.ParseSigned(r)
	require.NoError(t, err)
	require.True(t, ok)
	require.ErrorIs(t, s.Verify(public, now), wire.ErrSignature)

	empty := httptest.NewRequest(http.MethodPut, "/", nil)
	require.ErrorContains(t, wire.SignStream(empty, "c", "m", private, now), "use Sign")
}
