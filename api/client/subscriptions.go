package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// Webhook is where the host of a repository says that somebody has pushed.
type Webhook struct {
	Path   string `json:"path"`   // below the control plane's URL
	Secret string `json:"secret"` // what the sender signs with
}

// HostedRepository is a repository that the platform keeps.
type HostedRepository struct {
	Path     string `json:"path"` // below the control plane's URL
	User     string `json:"user"` // any will do
	Password string `json:"password"`
}

func subscriptionPath(t tenant.ID, alias string) string {
	return "/v1/tenants/" + url.PathEscape(string(t)) + "/subscriptions/" + url.PathEscape(alias)
}

// Webhook returns the webhook of a subscription.
func (c *Client) Webhook(ctx context.Context, t tenant.ID, alias string) (w Webhook, err error) {
	err = c.Do(ctx, http.MethodGet, subscriptionPath(t, alias)+"/webhook", nil, &w)
	return w, err
}

// RenewWebhook gives the webhook of a subscription another secret; the former
// one is refused from then on.
func (c *Client) RenewWebhook(ctx context.Context, t tenant.ID, alias string) error {
	return c.Do(ctx, http.MethodPost, subscriptionPath(t, alias)+"/webhook/renew", nil, nil)
}

// PutCredentials gives a subscription what opens its repository. What does not
// fit its URL is an [*Error] of code 422.
func (c *Client) PutCredentials(ctx context.Context, t tenant.ID, alias string, with artifact.Credentials) error {
	return c.Do(ctx, http.MethodPut, subscriptionPath(t, alias)+"/credentials", with, nil)
}

// RemoveCredentials takes what opens a subscription's repository away.
func (c *Client) RemoveCredentials(ctx context.Context, t tenant.ID, alias string) error {
	return c.Do(ctx, http.MethodDelete, subscriptionPath(t, alias)+"/credentials", nil, nil)
}

// Switch lets a subscription follow another branch or tag, or stay at a commit,
// whose full hash it takes. One that the repository does not have is an
// [*Error] of code 422.
func (c *Client) Switch(ctx context.Context, t tenant.ID, alias, ref string) error {
	return c.Do(ctx, http.MethodPut, subscriptionPath(t, alias)+"/ref", map[string]string{"ref": ref}, nil)
}

// Synchronised is what came of a look at a repository.
type Synchronised struct {
	Head    string           `json:"head,omitempty"`  // the commit that the ref names
	Error   string           `json:"error,omitempty"` // why the repository cannot be read
	Problem artifact.Problem `json:"problem,omitempty"`
	Refused string           `json:"refused,omitempty"` // why the head is not served
	Waits   string           `json:"waits,omitempty"`   // what it is waited for before it can be
	Settled bool             `json:"settled"`           // all serve the head, or it was refused
	Members []Serving        `json:"members"`
}

// Serving is which commit a member serves.
type Serving struct {
	Member   topology.MemberID `json:"member"`
	State    topology.State    `json:"state"`
	Revision string            `json:"revision,omitempty"` // empty: none yet
}

// Synchronise has the repository of a subscription looked at now, and waits, at
// most for so long, until what is new there is served, or is known not to be.
// That the time is over is no error: then Settled is false.
func (c *Client) Synchronise(ctx context.Context, t tenant.ID, alias string, wait time.Duration) (s Synchronised, err error) {
	path := subscriptionPath(t, alias) + "/synchronise?wait=" + url.QueryEscape(wait.String())
	err = c.doWithin(ctx, wait+10*time.Second, http.MethodPost, path, nil, &s)
	return s, err
}

// HostedRepository returns where to push to, and with which password. A
// subscription whose repository is elsewhere is an [*Error] of code 422.
func (c *Client) HostedRepository(ctx context.Context, t tenant.ID, alias string) (r HostedRepository, err error) {
	err = c.Do(ctx, http.MethodGet, subscriptionPath(t, alias)+"/repository", nil, &r)
	return r, err
}

// RenewPushSecret gives a repository that the platform keeps another password;
// the former one is refused from then on.
func (c *Client) RenewPushSecret(ctx context.Context, t tenant.ID, alias string) error {
	return c.Do(ctx, http.MethodPost, subscriptionPath(t, alias)+"/repository/renew", nil, nil)
}
