// Package tenant holds what people wish for: tenants, their subscriptions and
// their domains, as records in a store.
//
// Everything that a tenant has belongs to one of its subscriptions: a use of a
// cartridge under an alias. These records are wishes, whole, written by the
// API (or by the flavour's own program); the leader derives clusters from them.
package tenant

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gostratos/stratos/store"
)

// ID names a tenant.
type ID string

// Default is the tenant that a flavour has from its first start.
const Default ID = "default"

// Prefixes of the keys in the store.
const (
	Prefix             = "tenants/"
	SubscriptionPrefix = "subscriptions/"
	DomainPrefix       = "domains/"
	CredentialsPrefix  = "credentials/" // credentials/{tenant}/{alias}
)

// Schema is the version that this code writes into the V of its records.
const Schema = 1

// Errors that callers handle apart.
var (
	ErrAliasTaken = errors.New("alias is taken")
	ErrNotFound   = store.ErrNotFound
	ErrInvalid    = errors.New("invalid")
)

// Tenant is an organisation that owns subscriptions.
type Tenant struct {
	V       int       `json:"v"`
	ID      ID        `json:"id"`
	Name    string    `json:"name,omitempty"` // for people
	Created time.Time `json:"created"`
}

// Repository says where code comes from.
type Repository struct {
	// URL is https, ssh or git; or what artifact.Dir makes of a local path,
	// which only Go programs may pass. Empty: a repository is kept here, to be
	// pushed to, or there is none, where the cartridge needs none.
	URL string `json:"url"`
	// Ref is a branch, a tag or a commit. Default: the remote's HEAD.
	Ref string `json:"ref,omitempty"`
}

// Subscription is a tenant's use of a cartridge, under an alias.
type Subscription struct {
	V          int        `json:"v"`
	Tenant     ID         `json:"tenant"` // default: Default
	Alias      string     `json:"alias"`
	Cartridge  string     `json:"cartridge"`
	Repository Repository `json:"repository"`

	Min int `json:"min"` // fewest members. Default: 1, if Max is 0 too
	Max int `json:"max"` // most members. Default: Min, at least 1

	Policy    string `json:"policy,omitempty"`    // scaling policy by name. Default: the flavour's
	Placement string `json:"placement,omitempty"` // Default: the accounts one after another, and there is no other yet
	Size      string `json:"size,omitempty"`      // of the instances. Default: the cartridge's

	// Settings are the cartridge's own, by its names; Env is given to the program.
	Settings map[string]string `json:"settings,omitempty"`
	Env      map[string]string `json:"env,omitempty"`

	Created time.Time `json:"created"`
	// Synchronised is when somebody last asked for a look at the repository.
	Synchronised time.Time `json:"synchronised,omitzero"`
	// Webhook is how often the secret of its webhook was renewed.
	Webhook int `json:"webhook,omitempty"`
	// Push is how often the password of its hosted repository was renewed.
	Push int `json:"push,omitempty"`
}

// Credentials are what opens a subscription's repository, sealed: who reads the
// store reads nothing of them.
type Credentials struct {
	V       int       `json:"v"`
	Sealed  []byte    `json:"sealed"`
	Changed time.Time `json:"changed"`
}

// Domain maps a host name of the tenant's own to one of its subscriptions.
type Domain struct {
	V      int    `json:"v"`
	Host   string `json:"host"`
	Tenant ID     `json:"tenant"`
	Alias  string `json:"alias"`
}

// Key is where a tenant's record is.
func Key(id ID) string { return Prefix + string(id) }

// SubscriptionKey is where a subscription's record is.
func SubscriptionKey(id ID, alias string) string {
	return SubscriptionPrefix + string(id) + "/" + alias
}

// CredentialsKey is where a subscription's credentials are.
func CredentialsKey(id ID, alias string) string {
	return CredentialsPrefix + string(id) + "/" + alias
}

// DomainKey is where a domain's record is.
func DomainKey(host string) string { return DomainPrefix + host }

var label = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$`)

// CheckLabel refuses names that do not fit into a host name: what names the
// kind of name in the error.
func CheckLabel(what, name string) error {
	if label.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%s %q is %w: 1 to 40 lower-case letters, digits and dashes, beginning with a letter and not ending with a dash", what, name, ErrInvalid)
}

// WithDefaults fills what was left out.
func (s Subscription) WithDefaults() Subscription {
	s.V = Schema
	if s.Tenant == "" {
		s.Tenant = Default
	}
	if s.Min == 0 && s.Max == 0 {
		s.Min = 1
	}
	if s.Max == 0 {
		s.Max = max(s.Min, 1)
	}
	return s
}

// Check refuses a subscription that cannot work whatever the platform is.
func (s Subscription) Check() error {
	switch {
	case s.Cartridge == "":
		return fmt.Errorf("subscription %s is %w: no cartridge named", s.Alias, ErrInvalid)
	case s.Min < 0 || s.Max < 1 || s.Min > s.Max:
		return fmt.Errorf("subscription %s is %w: minimum %d and maximum %d (want 0 <= minimum <= maximum, and a maximum of at least 1)", s.Alias, ErrInvalid, s.Min, s.Max)
	}
	return errors.Join(CheckLabel("alias", s.Alias), CheckLabel("tenant", string(s.Tenant)))
}
