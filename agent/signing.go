package agent

import (
	"crypto/ed25519"
	"errors"
	"net/http"

	"github.com/gostratos/stratos/agent/wire"
)

// signing is a RoundTripper that signs every request with the agent's key. One
// that is refused for its time alone is signed again, by the control plane's
// clock: a clock that jumps silences no member.
type signing struct {
	base            http.RoundTripper
	cluster, member string
	key             ed25519.PrivateKey
	clock           *clock
}

var _ http.RoundTripper = (*signing)(nil)

// RoundTrip implements [http.RoundTripper].
func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.send(r)
	if err != nil || !s.clock.learn(resp) || r.Body != nil && r.GetBody == nil {
		return resp, err
	}
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return resp, nil // the answer says what is wrong
		}
		again.Body = body
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	return s.send(again)
}

func (s *signing) send(r *http.Request) (*http.Response, error) {
	signed := r.Clone(r.Context())
	sign := wire.Sign
	if r.ContentLength < 0 {
		sign = wire.SignStream
	}
	if err := sign(signed, s.cluster, s.member, s.key, s.clock.Now()); err != nil {
		if signed.Body != nil {
			err = errors.Join(err, signed.Body.Close())
		}
		return nil, err
	}
	return s.base.RoundTrip(signed)
}
