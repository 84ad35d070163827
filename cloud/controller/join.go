package controller

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Join is an agent's request to be its member's agent from now on.
type Join struct {
	Cluster   topology.ClusterID
	Member    topology.MemberID
	Token     string              // the one-time token of the user-data
	PublicKey ed25519.PublicKey   // what the member is bound to
	Instance  topology.InstanceID // if the agent knows it: a second way to adopt
}

// Join admits an agent: in one compare-and-swap it binds the member to the
// agent's key. The same key again gets the same answer, so that a lost reply
// costs nothing; another key is ErrRefused, a wrong token too. ErrNotYet: ask
// again soon.
func (c *Controller) Join(ctx context.Context, j Join) (topology.Member, error) {
	if len(j.PublicKey) != ed25519.PublicKeySize {
		return topology.Member{}, fmt.Errorf("%w: the public key has %d bytes, want %d", ErrRefused, len(j.PublicKey), ed25519.PublicKeySize)
	}
	now := c.clock.now()
	c.trace(BeforeS5, j.Member)
	m, err := c.update(ctx, j.Cluster, j.Member, nil, func(m topology.Member) (topology.Member, error) {
		return c.admit(m, j, now)
	})
	if err == nil {
		c.trace(AfterS5, j.Member)
		c.log().Debug("agent joined", "cluster", j.Cluster, "member", j.Member)
	}
	return m, err
}

func (c *Controller) admit(m topology.Member, j Join, now time.Time) (topology.Member, error) {
	switch {
	case m.State == topology.Terminating || m.State == topology.Terminated:
		return m, ErrGone
	case subtle.ConstantTimeCompare(hashToken(j.Token), m.JoinHash) != 1:
		return m, fmt.Errorf("%w: wrong token", ErrRefused)
	case m.PublicKey != nil && !bytes.Equal(m.PublicKey, j.PublicKey):
		return m, fmt.Errorf("%w: the token was used with another key", ErrRefused)
	case m.PublicKey != nil:
		return m, nil // asked again
	case m.Instance != "" && j.Instance != "" && m.Instance != j.Instance:
		return m, fmt.Errorf("%w: the member is another instance", ErrRefused)
	}
	var err error
	if m.State == topology.Created {
		if j.Instance == "" {
			return m, ErrNotYet
		}
		m.Instance = j.Instance
		if m, err = c.to(m, topology.Initialized, "adopted from its agent", now, m.Deadline); err != nil {
			return m, err
		}
	}
	m.PublicKey = j.PublicKey
	return c.to(m, topology.Starting, "its agent joined", now, m.Deadline)
}

// update applies change to a member by compare-and-swap, and again if somebody
// else was faster. What change returns unchanged is not written. The guard is
// the leader's; what agents say needs none.
func (c *Controller) update(ctx context.Context, cl topology.ClusterID, id topology.MemberID, guard []store.Cond, change func(topology.Member) (topology.Member, error)) (topology.Member, error) {
	for {
		r, err := store.Read[topology.Member](ctx, c.Store, topology.MemberKey(cl, id))
		if errors.Is(err, store.ErrNotFound) {
			return topology.Member{}, ErrGone
		}
		if err != nil {
			return topology.Member{}, err
		}
		next, err := change(r.Value)
		if err != nil || reflect.DeepEqual(next, r.Value) {
			return next, err
		}
		r.Value = next
		op, err := r.Put()
		if err != nil {
			return topology.Member{}, err
		}
		_, err = c.Store.Commit(ctx, store.Txn{If: append(guard[:len(guard):len(guard)], r.Unchanged()), Then: []store.Op{op}})
		var conflict *store.ConflictError
		var unknown *store.UnknownError
		if errors.As(err, &conflict) || errors.As(err, &unknown) {
			continue
		}
		return next, err
	}
}
