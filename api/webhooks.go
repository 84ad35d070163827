package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gostratos/stratos/artifact/webhook"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/tenant"
)

// hooksPath is where webhooks come: below it, a tenant and an alias.
const hooksPath = "/v1/hooks/"

// hookPatience is how long a webhook may take to arrive.
const hookPatience = 30 * time.Second

// ErrRepository wraps why a repository cannot be used as somebody wishes.
var ErrRepository = errors.New("the repository cannot be used so")

func (s *Server) webhookRoutes(mux *http.ServeMux, subscription string) {
	mux.HandleFunc("POST "+hooksPath+"{tenant}/{alias}", func(w http.ResponseWriter, r *http.Request) {
		if err := s.pushed(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
	mux.Handle("GET "+subscription+"/webhook", s.admin(s.showWebhook))
	mux.Handle("POST "+subscription+"/webhook/renew", s.admin(s.renewWebhook))
}

// pushed takes a webhook: its signature is all that lets it in. Whoever cannot
// sign does not learn which subscriptions there are.
func (s *Server) pushed(w http.ResponseWriter, r *http.Request) error {
	t, alias := tenant.ID(r.PathValue("tenant")), r.PathValue("alias")
	secret, err := s.webhookSecret(r.Context(), t, alias)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// Nobody has proved anything yet: he may not keep the connection for long.
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(hookPatience)); err != nil {
		return err
	}
	push, err := webhook.Read(r.Header, r.Body, secret)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	sub, err := store.Read[tenant.Subscription](ctx, s.Store, tenant.SubscriptionKey(t, alias))
	if err != nil {
		return err
	}
	if !push.Concerns(sub.Value.Repository.Ref) {
		s.reply(w, map[string]string{"status": "nothing to do: it is about something else"})
		return nil
	}
	if err := s.Platform.Synchronise(ctx, t, alias); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) webhookSecret(ctx context.Context, t tenant.ID, alias string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	return s.Platform.Webhook(ctx, t, alias)
}

func (s *Server) showWebhook(w http.ResponseWriter, r *http.Request) error {
	t, alias := r.PathValue("tenant"), r.PathValue("alias")
	secret, err := s.Platform.Webhook(r.Context(), tenant.ID(t), alias)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	s.reply(w, map[string]string{"path": hooksPath + url.PathEscape(t) + "/" + url.PathEscape(alias), "secret": secret})
	return nil
}

func (s *Server) renewWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := s.Platform.RenewWebhook(r.Context(), tenant.ID(r.PathValue("tenant")), r.PathValue("alias")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
