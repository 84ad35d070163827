package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxBody is the largest body of a signed request, in bytes.
const MaxBody = 1 << 20

// Skew is how far the clocks of an agent and the control plane may differ.
const Skew = 5 * time.Minute

const scheme = "Stratos-Agent"

// ErrSignature says that a request is not signed by the key it names.
var ErrSignature = errors.New("the request's signature does not hold")

// ErrClock says that a request is signed by its key, but at a time that is
// more than [Skew] away. Who answers it says so with [ClockHeader], beside the
// status 401 and the header Date: the agent then signs by the answer's clock.
var ErrClock = errors.New("the clocks differ")

// ClockHeader of an answer has the value [ClockSkewed] if the request was
// refused for nothing but its time.
const (
	ClockHeader = "Stratos-Clock"
	ClockSkewed = "skew"
)

// Signed is what a signed request says of its sender, before the signature is
// checked: look the member's key up, then call Verify.
type Signed struct {
	Cluster, Member string
	at              int64
	sum             []byte
	message         string
	stream          *trailed // what is left to check of a body that streams
}

// Sign adds an Authorization header to r: cluster, member, time and an Ed25519
// signature over method, path with query, time and the body's SHA-256.
func Sign(r *http.Request, cluster, member string, key ed25519.PrivateKey, now time.Time) error {
	body, err := takeBody(r)
	if err != nil {
		return err
	}
	at := now.Unix()
	sign(r, cluster, member, key, at, message(r, cluster, member, at, digest(body)))
	return nil
}

func sign(r *http.Request, cluster, member string, key ed25519.PrivateKey, at int64, message string) {
	sum := ed25519.Sign(key, []byte(message))
	r.Header.Set("Authorization", fmt.Sprintf("%s %s/%s:%d:%s", scheme, cluster, member, at, base64.RawURLEncoding.EncodeToString(sum)))
}

// ParseSigned reads the Authorization header of r. ok is false if r carries
// none of this scheme.
func ParseSigned(r *http.Request) (s Signed, ok bool, err error) {
	s, ok, err = parse(r)
	if !ok || err != nil {
		return s, ok, err
	}
	body, err := takeBody(r)
	if err != nil {
		return s, true, err
	}
	s.message = message(r, s.Cluster, s.Member, s.at, digest(body))
	return s, true, nil
}

// parse reads the header, without what was signed.
func parse(r *http.Request) (s Signed, ok bool, err error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme+" ")
	if !ok {
		return s, false, nil
	}
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return s, true, ErrSignature
	}
	s.Cluster, s.Member, ok = strings.Cut(parts[0], "/")
	if !ok {
		return s, true, ErrSignature
	}
	if s.at, err = strconv.ParseInt(parts[1], 10, 64); err != nil {
		return s, true, ErrSignature
	}
	if s.sum, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return s, true, ErrSignature
	}
	return s, true, nil
}

// Verify checks the signature against the member's key, and the time against
// now. The error is an ErrSignature, and an ErrClock if only the time is wrong.
func (s Signed) Verify(key ed25519.PublicKey, now time.Time) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, []byte(s.message), s.sum) {
		return ErrSignature
	}
	if off := now.Sub(time.Unix(s.at, 0)).Abs(); off > Skew {
		return fmt.Errorf("%w: %w by %v, more than %v", ErrSignature, ErrClock, off.Round(time.Second), Skew)
	}
	if s.stream != nil {
		s.stream.key = key
	}
	return nil
}

// message is what is signed; body is the digest of the request's body, in hex.
func message(r *http.Request, cluster, member string, at int64, body string) string {
	return strings.Join([]string{scheme, r.Method, r.URL.RequestURI(), cluster, member, strconv.FormatInt(at, 10), body}, "\n")
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// takeBody reads the body of r and puts it back.
func takeBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request's body: %w", err)
	}
	if len(b) > MaxBody {
		return nil, fmt.Errorf("the request's body is over %d bytes", MaxBody)
	}
	if err := r.Body.Close(); err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}
