// Package webhook reads what a host of Git repositories sends when somebody has
// pushed. It understands GitHub's webhooks (JSON and form), and plain JSON, {"ref": "refs/heads/main"}, from anybody who
// signs it in the same way: the header X-Hub-Signature-256 is "sha256=" and the
// HMAC-SHA256 of the body, in hex.
//
// A webhook is only a hint that there is something to look at. What is in it is
// not used for anything else, so that one that comes twice, late or out of
// order does no harm.
package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Headers of a request.
const (
	SignatureHeader = "X-Hub-Signature-256"
	EventHeader     = "X-GitHub-Event" // none: a push
)

// MaxBody is the largest body, bytes. GitHub sends at most 25 MiB; as a form it grows.
const MaxBody = 32 << 20

// maxKept is how much of a body is kept in memory to be understood. A longer
// one is verified only, and says no more than that something was pushed.
const maxKept = 1 << 20

// Errors that callers handle apart.
var (
	ErrSignature = errors.New("the signature is missing or wrong: the sender has to know the webhook's secret, and to send " + SignatureHeader)
	ErrBody      = errors.New("the body is not a webhook's")
	ErrTooLarge  = fmt.Errorf("the body has more than %d MiB", MaxBody>>20)
)

// Push is what a webhook says.
type Push struct {
	Event   string // "push" or nothing; of anything else there is nothing to do
	Ref     string // what was pushed to, for example "refs/heads/main"; empty: it is not said
	Default string // the default branch's name, if it is said
}

// Sign returns what SignatureHeader has to be for a body.
func Sign(body []byte, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body) // never fails
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Read reads and verifies a webhook. Nothing of a body is looked at whose
// signature is wrong.
func Read(h http.Header, body io.Reader, secret string) (Push, error) {
	sent, ok := strings.CutPrefix(h.Get(SignatureHeader), "sha256=")
	wanted, err := hex.DecodeString(sent)
	if !ok || err != nil || len(wanted) != sha256.Size || secret == "" {
		return Push{}, ErrSignature
	}
	mac := hmac.New(sha256.New, []byte(secret))
	signed := io.TeeReader(io.LimitReader(body, MaxBody+1), mac)
	kept, err := io.ReadAll(io.LimitReader(signed, maxKept))
	if err != nil {
		return Push{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	more, err := io.Copy(io.Discard, signed)
	switch {
	case err != nil:
		return Push{}, fmt.Errorf("%w: %w", ErrBody, err)
	case int64(len(kept))+more > MaxBody:
		return Push{}, ErrTooLarge
	case !hmac.Equal(mac.Sum(nil), wanted):
		return Push{}, ErrSignature
	}
	p := Push{Event: h.Get(EventHeader)}
	if more > 0 || !p.isPush() {
		return p, nil
	}
	return p, p.parse(h.Get("Content-Type"), kept)
}

// parse takes what is needed out of a body.
func (p *Push) parse(contentType string, body []byte) error {
	if kind, _, err := mime.ParseMediaType(contentType); err == nil && kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBody, err)
		}
		body = []byte(form.Get("payload"))
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var said struct {
		Ref        string `json:"ref"`
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"repository"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	p.Ref, p.Default = said.Ref, said.Repository.DefaultBranch
	return nil
}

func (p Push) isPush() bool { return p.Event == "" || p.Event == "push" }

// Concerns reports whether who follows ref, or the default branch if it is
// empty, has to look at the repository. In doubt he has.
func (p Push) Concerns(ref string) bool {
	const commit = 40 // as long as a commit's hash: any push may bring it
	switch {
	case !p.isPush():
		return false
	case p.Ref == "", len(ref) == commit, ref == "" && p.Default == "":
		return true
	case ref == "":
		return p.Ref == "refs/heads/"+p.Default
	}
	return slices.Contains([]string{ref, "refs/heads/" + ref, "refs/tags/" + ref}, p.Ref)
}
