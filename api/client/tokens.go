package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gostratos/stratos/tenant"
)

const tokensPath = "/v1/tokens"

// Token is what may be known of a token: not its secret.
type Token struct {
	ID      tenant.TokenID   `json:"id"`
	Kind    tenant.TokenKind `json:"kind"` // what its bearer may do
	Name    string           `json:"name"` // for people: whose it is
	Created time.Time        `json:"created"`
}

// NewToken makes a token of a kind, for somebody, and returns its secret,
// which is nowhere else.
func (c *Client) NewToken(ctx context.Context, kind tenant.TokenKind, name string) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	in := struct {
		Kind tenant.TokenKind `json:"kind"`
		Name string           `json:"name"`
	}{kind, name}
	err := c.Post(ctx, tokensPath, in, &out)
	return out.Token, err
}

// Tokens lists all tokens, the oldest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	var out []Token
	err := c.Do(ctx, http.MethodGet, tokensPath, nil, &out)
	return out, err
}

// EndToken takes a token back for good, and returns what it was. A token that
// is not there is an [*Error] of code 404.
func (c *Client) EndToken(ctx context.Context, id tenant.TokenID) (Token, error) {
	var out Token
	err := c.Do(ctx, http.MethodDelete, tokensPath+"/"+url.PathEscape(string(id)), nil, &out)
	return out, err
}
