package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"
)

// TokenPrefix is where the records of tokens are.
const TokenPrefix = "tokens/"

// TokenKind says what a token's bearer may do.
type TokenKind string

// The kinds of tokens.
const (
	TokenAdmin    TokenKind = "admin"    // everything
	TokenBalancer TokenKind = "balancer" // read the topology, send samples and its own state
)

// Token is what is known of a secret that somebody bears: never the secret
// itself, only its hash. Its key is made of the secret, so that it is found
// with one read.
type Token struct {
	V       int       `json:"v"`
	Kind    TokenKind `json:"kind"`
	Name    string    `json:"name"` // for people: who bears it
	Hash    []byte    `json:"hash"` // SHA-256 of the secret
	Created time.Time `json:"created"`
}

// NewSecret makes a token's secret: 256 random bits, in letters that need no
// quoting.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewToken makes the record for a secret.
func NewToken(secret string, kind TokenKind, name string, now time.Time) Token {
	sum := sha256.Sum256([]byte(secret))
	return Token{V: Schema, Kind: kind, Name: name, Hash: sum[:], Created: now}
}

// TokenID names a token, for people who look at a list of them and end one. It
// is no secret: it is a hash that says nothing about the one that is compared.
type TokenID string

// tokenIDBytes is how much of the hash is an id.
const tokenIDBytes = 16

// IDOfToken is the id of the token that secret is of.
func IDOfToken(secret string) TokenID {
	sum := sha256.Sum256([]byte("stratos token key\x00" + secret))
	return TokenID(hex.EncodeToString(sum[:tokenIDBytes]))
}

// ParseTokenID reads an id as it is listed. Anything else is [ErrInvalid]; it is
// not repeated in the error, as somebody may have written the secret.
func ParseTokenID(text string) (TokenID, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != tokenIDBytes || hex.EncodeToString(b) != text {
		return "", fmt.Errorf("the id of a token is %w: want %d digits of 0-9 and a-f, as in the list of tokens", ErrInvalid, 2*tokenIDBytes)
	}
	return TokenID(text), nil
}

// Key is where the token's record is.
func (id TokenID) Key() string { return TokenPrefix + string(id) }

// TokenKey is where a secret's record is.
func TokenKey(secret string) string { return IDOfToken(secret).Key() }

// Matches reports whether secret is this token's, in a time that tells nothing.
func (t Token) Matches(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], t.Hash) == 1
}
