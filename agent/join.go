package agent

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/internal/ca"
)

// join binds the member to the key and returns what is assigned; id, unless
// nil, gets its certificate. It tries
// until ctx ends, or until the control plane refuses for good.
func (c *control) join(ctx context.Context, key ed25519.PrivateKey, instance string, id *identity, log *slog.Logger) (wire.Assignment, error) {
	in := wire.JoinRequest{
		V:         wire.Version,
		Cluster:   c.member.Cluster,
		Member:    c.member.Member,
		Token:     c.member.Token,
		PublicKey: key.Public().(ed25519.PublicKey),
		Instance:  instance,
	}
	if id != nil {
		var err error
		if in.CSR, err = ca.Request(id.keeper.Key); err != nil {
			return wire.Assignment{}, fmt.Errorf("asking for a certificate: %w", err)
		}
	}
	wait := backoff{First: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		var out wire.Assignment
		err := c.call(ctx, c.plain, http.MethodPost, wire.JoinPath, in, &out)
		switch {
		case err == nil:
			id.take(out.Certificate)
			return out, nil
		case answered(err, http.StatusUnauthorized, http.StatusForbidden):
			return out, fmt.Errorf("member %s may not join: its token is used by another key, or wrong: %w", in.Member, err)
		case answered(err, http.StatusGone):
			return out, fmt.Errorf("member %s may not join: it is terminated: %w", in.Member, err)
		case answered(err, http.StatusBadRequest):
			return out, fmt.Errorf("member %s may not join: the control plane speaks another version than %d: %w", in.Member, wire.Version, err)
		}
		if ctx.Err() == nil {
			log.Warn("joining the control plane, trying again", "err", err)
		}
		if !wait.Pause(ctx) {
			return out, ctx.Err()
		}
	}
}
