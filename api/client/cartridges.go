package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/tenant"
)

// Cartridge is something to subscribe to.
type Cartridge struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Version     string    `json:"version"`
	BuiltIn     bool      `json:"builtIn"` // the flavour's program is made of it
	Tenant      tenant.ID `json:"tenant"`  // whose it is; empty: everyone's
	Changed     time.Time `json:"changed"`
	// Settings that subscriptions may choose; none are told of a built-in one.
	Settings map[string]cartridge.Setting `json:"settings"`
}

// cartridgesPath is where a tenant's cartridges are, or, without one, everyone's.
func cartridgesPath(t tenant.ID) string {
	if t == "" {
		return "/v1/cartridges"
	}
	return "/v1/tenants/" + url.PathEscape(string(t)) + "/cartridges"
}

// Cartridges lists what a tenant can subscribe to, by name; without a tenant
// what everyone can.
func (c *Client) Cartridges(ctx context.Context, t tenant.ID) ([]Cartridge, error) {
	var out []Cartridge
	err := c.Do(ctx, http.MethodGet, cartridgesPath(t), nil, &out)
	return out, err
}

// PutCartridge adds a cartridge that is only data, or replaces the one of its
// name: for a tenant alone, or without one for everyone.
func (c *Client) PutCartridge(ctx context.Context, t tenant.ID, d cartridge.Definition) error {
	text, err := d.Encode()
	if err != nil {
		return err
	}
	return c.Do(ctx, http.MethodPut, cartridgesPath(t)+"/"+url.PathEscape(d.Name), json.RawMessage(text), nil)
}

// WithdrawCartridge takes a cartridge back. One that a subscription uses is an
// [*Error] of code 409 that names it.
func (c *Client) WithdrawCartridge(ctx context.Context, t tenant.ID, name string) error {
	return c.Do(ctx, http.MethodDelete, cartridgesPath(t)+"/"+url.PathEscape(name), nil, nil)
}
