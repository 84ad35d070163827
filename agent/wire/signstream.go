package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"
)

// StreamTrailer of a request whose body streams is a signature over the whole
// of it. It comes behind the body, and a body without it is not whole.
const StreamTrailer = "Stratos-Signature"

// streamed stands for the digest of a body that is not known yet.
const streamed = "stream"

// SignStream is [Sign] for a body that is read only while it is sent, of any
// length: the header's signature says that it streams, and a second one, in
// [StreamTrailer], is over the digest of what was sent. The request must go out
// chunked, with a ContentLength of -1.
func SignStream(r *http.Request, cluster, member string, key ed25519.PrivateKey, now time.Time) error {
	if r.Body == nil || r.Body == http.NoBody {
		return errors.New("a request without a body does not stream: use Sign")
	}
	at := now.Unix()
	sign(r, cluster, member, key, at, message(r, cluster, member, at, streamed))
	r.Trailer = http.Header{StreamTrailer: nil}
	r.Body = &summed{ReadCloser: r.Body, sum: sha256.New(), end: func(digest string) error {
		sum := ed25519.Sign(key, []byte(message(r, cluster, member, at, digest)))
		r.Trailer.Set(StreamTrailer, base64.RawURLEncoding.EncodeToString(sum))
		return nil
	}}
	return nil
}

// ParseStream is [ParseSigned] for a request that [SignStream] signed: it does
// not read the body. After Verify, r.Body is to be read to its end; only an
// io.EOF there says that the body is whole and its sender's. Anything else, an
// [ErrSignature] among it, says that what was read is to be thrown away.
func ParseStream(r *http.Request) (s Signed, ok bool, err error) {
	s, ok, err = parse(r)
	if !ok || err != nil {
		return s, ok, err
	}
	s.message = message(r, s.Cluster, s.Member, s.at, streamed)
	t := &trailed{r: r, cluster: s.Cluster, member: s.Member, at: s.at}
	s.stream = t
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Body = &summed{ReadCloser: r.Body, sum: sha256.New(), end: t.verify}
	return s, true, nil
}

// trailed is what is known of a request whose trailer is still to come.
type trailed struct {
	r               *http.Request
	cluster, member string
	at              int64
	key             ed25519.PublicKey // nil before Verify
}

func (t *trailed) verify(digest string) error {
	sum, err := base64.RawURLEncoding.DecodeString(t.r.Trailer.Get(StreamTrailer))
	signed := message(t.r, t.cluster, t.member, t.at, digest)
	if err != nil || len(t.key) != ed25519.PublicKeySize || !ed25519.Verify(t.key, []byte(signed), sum) {
		return fmt.Errorf("the body is not what its sender signed: %w", ErrSignature)
	}
	return nil
}

// summed is a body that is summed up while it is read. At its end, end has the
// last word.
type summed struct {
	io.ReadCloser
	sum  hash.Hash
	end  func(digest string) error
	last error // io.EOF, or what end says
}

func (s *summed) Read(b []byte) (int, error) {
	if s.last != nil {
		return 0, s.last
	}
	n, err := s.ReadCloser.Read(b)
	s.sum.Write(b[:n])
	if errors.Is(err, io.EOF) {
		s.last = io.EOF
		if bad := s.end(hex.EncodeToString(s.sum.Sum(nil))); bad != nil {
			s.last = bad
		}
		err = s.last
	}
	return n, err
}
