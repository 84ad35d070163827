package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// ownToken is the name of the token that a control plane on its own makes for
// its administrator, and of no other: those of that name it takes back at its start.
const ownToken = "admin"

// shownToken is a token without what it is checked with.
type shownToken struct {
	ID      tenant.TokenID   `json:"id"`
	Kind    tenant.TokenKind `json:"kind"`
	Name    string           `json:"name"`
	Created time.Time        `json:"created"`
}

// listTokens answers with all tokens, the oldest first.
func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) error {
	recs, _, err := store.ReadAll[tenant.Token](r.Context(), s.Store, tenant.TokenPrefix)
	if err != nil {
		return err
	}
	out := make([]shownToken, len(recs))
	for i, t := range recs {
		out[i] = shownToken{ID: tenant.TokenID(t.Key[len(tenant.TokenPrefix):]), Kind: t.Value.Kind, Name: t.Value.Name, Created: t.Value.Created}
	}
	slices.SortStableFunc(out, func(a, b shownToken) int { return a.Created.Compare(b.Created) })
	s.reply(w, out)
	return nil
}

// makeToken answers with the one copy of a new token's secret.
func (s *Server) makeToken(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Kind tenant.TokenKind `json:"kind"`
		Name string           `json:"name"`
	}
	if err := decode(r, &req); err != nil {
		return err
	}
	if kinds := []tenant.TokenKind{tenant.TokenAdmin, tenant.TokenBalancer}; !slices.Contains(kinds, req.Kind) {
		return fmt.Errorf("%w: kind is %q, want admin or balancer", errBadRequest, req.Kind)
	}
	if err := tenant.CheckLabel("name", req.Name); err != nil {
		return err
	}
	if req.Kind == tenant.TokenAdmin && req.Name == ownToken {
		return fmt.Errorf("%w: %q is the control plane's own token, in admin.token of its data folder: choose another name", errBadRequest, req.Name)
	}
	secret := tenant.NewSecret()
	id := tenant.IDOfToken(secret)
	rec := store.NewRecord(id.Key(), tenant.NewToken(secret, req.Kind, req.Name, time.Now()))
	op, err := rec.Put()
	if err != nil {
		return err
	}
	if _, err := s.Store.Commit(r.Context(), store.Txn{If: []store.Cond{rec.Unchanged()}, Then: []store.Op{op}}); err != nil {
		return err
	}
	s.log().Info("token made", "id", id, "kind", req.Kind, "name", req.Name)
	s.reply(w, map[string]string{"token": secret, "id": string(id)})
	return nil
}

// endToken takes a token back, and answers with what it was. Its bearer's next
// request is refused, and what it follows ends; see whileGood.
func (s *Server) endToken(w http.ResponseWriter, r *http.Request) error {
	id, err := tenant.ParseTokenID(r.PathValue("id"))
	if err != nil {
		return err
	}
	rec, err := store.Read[tenant.Token](r.Context(), s.Store, id.Key())
	if err != nil {
		return err
	}
	if _, err := s.Store.Commit(r.Context(), store.Txn{Then: []store.Op{{Key: id.Key(), Delete: true}}}); err != nil {
		return err
	}
	t := rec.Value
	s.log().Info("token ended", "id", id, "kind", t.Kind, "name", t.Name)
	s.reply(w, shownToken{ID: id, Kind: t.Kind, Name: t.Name, Created: t.Created})
	return nil
}

// whileGood calls f with a context that ends with stop, and when the token that
// the request bears is ended: what streams for days would else outlive it. The
// replicas' own token has no record, and an agent bears none: they are good
// until stop ends. While the store is away, every token stays good.
func (s *Server) whileGood(stop context.Context, r *http.Request, f func(stop context.Context)) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || s.ReplicaToken != "" && tenant.NewToken(s.ReplicaToken, tokenReplica, "", time.Time{}).Matches(secret) {
		f(stop)
		return
	}
	stop, end := context.WithCancel(stop)
	var following sync.WaitGroup
	following.Go(func() {
		s.awaitEnd(stop, tenant.TokenKey(secret))
		end()
	})
	f(stop)
	end()
	following.Wait()
}

// awaitEnd returns when a token has no record any more, or ctx ends.
func (s *Server) awaitEnd(ctx context.Context, key string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ctx.Err() == nil {
		err := store.Follow(ctx, s.Store, key, func(b store.Batch, whole bool) error {
			if whole && len(b.Events) == 0 || slices.ContainsFunc(b.Events, func(e store.Event) bool { return e.Deleted }) {
				cancel()
			}
			return ctx.Err()
		})
		if ctx.Err() != nil {
			return
		}
		s.log().Debug("following a token: trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
