package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/tenant"
)

// ErrInUse says that something cannot be taken away, as something else needs it.
var ErrInUse = errors.New("in use")

// Cartridge is what is told of one: enough to subscribe to it.
type Cartridge struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Version     string    `json:"version,omitempty"`
	BuiltIn     bool      `json:"builtIn,omitempty"` // the flavour's program is made of it
	Tenant      tenant.ID `json:"tenant,omitempty"`  // whose it is; empty: everyone's
	Changed     time.Time `json:"changed,omitzero"`
	// Settings that subscriptions may choose. Of a built-in one they are in its
	// documentation.
	Settings map[string]cartridge.Setting `json:"settings,omitempty"`
}

func (s *Server) cartridgeRoutes(mux *http.ServeMux) {
	for _, at := range []string{"/v1/cartridges", "/v1/tenants/{tenant}/cartridges"} {
		mux.Handle("GET "+at, s.admin(s.listCartridges))
		mux.Handle("PUT "+at+"/{name}", s.admin(s.putCartridge))
		mux.Handle("DELETE "+at+"/{name}", s.admin(s.withdrawCartridge))
	}
}

func (s *Server) listCartridges(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Platform.Cartridges(r.Context(), tenant.ID(r.PathValue("tenant")))
	if err != nil {
		return err
	}
	s.reply(w, all)
	return nil
}

// putCartridge takes a definition, YAML or JSON.
func (s *Server) putCartridge(w http.ResponseWriter, r *http.Request) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	d, err := cartridge.DecodeDefinition(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if name := r.PathValue("name"); d.Name != name {
		return fmt.Errorf("%w: the definition's name is %q, and the path's is %q", errBadRequest, d.Name, name)
	}
	t := tenant.ID(r.PathValue("tenant"))
	created, err := s.Platform.PutCartridge(r.Context(), t, d)
	if err != nil {
		return err
	}
	s.log().Info("cartridge put", "cartridge", d.Name, "tenant", t, "new", created)
	if created {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

func (s *Server) withdrawCartridge(w http.ResponseWriter, r *http.Request) error {
	t, name := tenant.ID(r.PathValue("tenant")), r.PathValue("name")
	if err := s.Platform.WithdrawCartridge(r.Context(), t, name); err != nil {
		return err
	}
	s.log().Info("cartridge withdrawn", "cartridge", name, "tenant", t)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
