package webhook_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact/webhook"
)

const secret = "s3cret"

// header is what comes with a body that is signed.
func header(body string, more ...string) http.Header {
	h := http.Header{webhook.SignatureHeader: {webhook.Sign([]byte(body), secret)}, "Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// TestSignature: openssl dgst -sha256 -hmac gives the same.
func TestSignature(t *testing.T) {
	require.Equal(t, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		webhook.Sign([]byte("Hello, World!"), "It's a Secret to Everybody"))
}

func TestRead(t *testing.T) {
	const push = `{"ref":"refs/heads/main","after":"0123","repository":{"default_branch":"trunk","size":3},"commits":[{"id":"x"}]}`
	form := url.Values{"payload": {push}}.Encode()
	long := `{"ref":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, c := range map[string]struct {
		body   string
		header []string
		want   webhook.Push
	}{
		"GitHub, JSON": {push, []string{webhook.EventHeader, "push"}, webhook.Push{Event: "push", Ref: "refs/heads/main", Default: "trunk"}},
		"GitHub, form": {form, []string{webhook.EventHeader, "push", "Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
			webhook.Push{Event: "push", Ref: "refs/heads/main", Default: "trunk"}},
		"ping":            {`{"zen":"x"}`, []string{webhook.EventHeader, "ping"}, webhook.Push{Event: "ping"}},
		"plain":           {`{"ref":"refs/tags/v1"}`, nil, webhook.Push{Ref: "refs/tags/v1"}},
		"without a type":  {`{"ref":"refs/tags/v1"}`, []string{"Content-Type", ""}, webhook.Push{Ref: "refs/tags/v1"}},
		"nothing":         {"", nil, webhook.Push{}},
		"an empty form":   {"", []string{"Content-Type", "application/x-www-form-urlencoded"}, webhook.Push{}},
		"longer than fit": {long, []string{webhook.EventHeader, "push"}, webhook.Push{Event: "push"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := webhook.Read(header(c.body, c.header...), strings.NewReader(c.body), secret)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestRefused(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	read := func(h http.Header, body, secret string) error {
		_, err := webhook.Read(h, strings.NewReader(body), secret)
		return err
	}
	signed := webhook.Sign([]byte(body), secret)
	for _, signature := range []string{"", signed[:20], strings.TrimPrefix(signed, "sha256="), "sha1=" + signed[7:], signed + "00", webhook.Sign([]byte(body), "another"), "sha256="} {
		require.ErrorIs(t, read(header(body, webhook.SignatureHeader, signature), body, secret), webhook.ErrSignature, signature)
	}
	require.ErrorIs(t, read(header(body), body+" ", secret), webhook.ErrSignature, "another body")
	require.ErrorIs(t, read(http.Header{webhook.SignatureHeader: {webhook.Sign([]byte(body), "")}}, body, ""), webhook.ErrSignature, "no secret lets nobody in")
	require.ErrorIs(t, read(header(body), "not JSON", secret), webhook.ErrSignature, "it is verified before it is read")
	for _, bad := range []string{"not JSON", `{"ref":1}`, "[]", "{} {}"} {
		require.ErrorIs(t, read(header(bad), bad, secret), webhook.ErrBody, bad)
	}
	bad := "payload=%zz"
	require.ErrorIs(t, read(header(bad, "Content-Type", "application/x-www-form-urlencoded"), bad, secret), webhook.ErrBody)
	_, err := webhook.Read(header(body), io.MultiReader(strings.NewReader(body), io.LimitReader(zeros{}, webhook.MaxBody)), secret)
	require.ErrorIs(t, err, webhook.ErrTooLarge)
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestConcerns(t *testing.T) {
	hash := strings.Repeat("a", 40)
	main := webhook.Push{Event: "push", Ref: "refs/heads/main", Default: "main"}
	for _, c := range []struct {
		push webhook.Push
		ref  string
		want bool
	}{
		{main, "main", true}, {main, "refs/heads/main", true}, {main, "", true}, {main, hash, true},
		{main, "other", false}, {main, "v1", false}, {main, "mai", false},
		{webhook.Push{Ref: "refs/heads/x", Default: "main"}, "", false},
		{webhook.Push{Ref: "refs/heads/x"}, "", true},
		{webhook.Push{Ref: "refs/tags/v1"}, "v1", true},
		{webhook.Push{}, "main", true},
		{webhook.Push{Event: "ping"}, "main", false},
	} {
		require.Equal(t, c.want, c.push.Concerns(c.ref), "%+v %q", c.push, c.ref)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"ref":"refs/heads/main"}`), "application/json", "push", true)
	f.Add([]byte("payload=%7B%7D"), "application/x-www-form-urlencoded", "", true)
	f.Add([]byte(`{"ref":"refs/heads/main"}`), "application/json", "push", false)
	f.Fuzz(func(t *testing.T, body []byte, contentType, event string, good bool) {
		h := http.Header{"Content-Type": {contentType}, webhook.EventHeader: {event}}
		if good {
			h.Set(webhook.SignatureHeader, webhook.Sign(body, secret))
		} else {
			h.Set(webhook.SignatureHeader, webhook.Sign(body, secret+"x"))
		}
		p, err := webhook.Read(h, bytes.NewReader(body), secret)
		if !good {
			require.ErrorIs(t, err, webhook.ErrSignature)
		}
		if err == nil && event != "" && event != "push" {
			require.False(t, p.Concerns(""))
		}
	})
}

func ExampleRead() {
	body := `{"ref":"refs/heads/main"}`
	h := http.Header{webhook.SignatureHeader: {webhook.Sign([]byte(body), "the secret")}}
	push, err := webhook.Read(h, strings.NewReader(body), "the secret")
	fmt.Println(push.Ref, push.Concerns("main"), push.Concerns("release"), err)
	// Output: refs/heads/main true false <nil>
}
