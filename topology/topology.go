// Package topology says which services, clusters and members there are, and in
// which state each member is.
//
// A service is a cartridge in the topology; a [Cluster] holds the members that
// serve one subscription (or one shared service); a [Member] is one instance
// of it. All three live as whole records in a store: a record replaces the
// former one, readers fold them into a [View], and a [Source] hands out views,
// each newer than the last. [Mirror] is the source inside the control plane;
// package topology/stream carries views over HTTP.
//
// A member moves only along the table in [Member.To]; each move is one
// transaction, a compare-and-swap of the member's record.
package topology

import (
	"crypto/rand"
	"encoding/base32"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Identifiers. They are distinct types so that they cannot be swapped.
type (
	// ServiceName is the name of a cartridge.
	ServiceName string
	// ClusterID is tenant.alias for a subscription's own cluster, or the
	// service's name for a shared one.
	ClusterID string
	// MemberID is 128 random bits in lower-case base32.
	MemberID string
	// TenantID names a tenant.
	TenantID string
	// InstanceID is a cloud's name for an instance.
	InstanceID string
)

// Prefixes of the keys in the store.
const (
	ClusterPrefix = "clusters/"
	WantPrefix    = "wants/"
	MemberPrefix  = "members/"
)

// Schema is the version that this code writes into the V of its records.
const Schema = 1

var memberEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewMemberID makes an id from 128 random bits.
func NewMemberID() MemberID {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return MemberID(memberEncoding.EncodeToString(b[:]))
}

// SubscriptionCluster is the id of the cluster that a subscription has for itself.
func SubscriptionCluster(tenant TenantID, alias string) ClusterID {
	return ClusterID(string(tenant) + "." + alias)
}

// ClusterKey is where a cluster's record is.
func ClusterKey(c ClusterID) string { return ClusterPrefix + string(c) }

// WantKey is where a cluster's want is.
func WantKey(c ClusterID) string { return WantPrefix + string(c) }

// MemberKey is where a member's record is.
func MemberKey(c ClusterID, m MemberID) string {
	return MemberPrefix + string(c) + "/" + string(m)
}

// Cluster is the derived wish: what the members of a cluster should be. The
// leader's deriver writes it, from subscriptions, domains and releases.
type Cluster struct {
	V       int         `json:"v"`
	ID      ClusterID   `json:"id"`
	Service ServiceName `json:"service"`
	Tenant  TenantID    `json:"tenant,omitempty"` // empty: shared by tenants
	Alias   string      `json:"alias,omitempty"`

	Min       int    `json:"min"`
	Max       int    `json:"max"`
	Policy    string `json:"policy,omitempty"`    // scaling policy; empty: the flavour's default
	Placement string `json:"placement,omitempty"` // empty: the flavour's default
	Size      string `json:"size,omitempty"`      // of the instances; a change replaces members

	Routes []Route `json:"routes,omitempty"`

	Current   *Release `json:"current,omitempty"`   // what every launch gets
	Candidate *Release `json:"candidate,omitempty"` // tried on one member first
	Refused   *Refusal `json:"refused,omitempty"`   // the last candidate that did not come up
	// Waits says what a candidate waits for before it can be one: empty for nothing.
	Waits string `json:"waits,omitempty"`

	// Data names its volumes: random, so that a subscription never gets what a
	// former one of its name had.
	Data string `json:"data,omitempty"`
	// Exclusive: its volume is for one member at a time. The next one is
	// launched when the former is gone.
	Exclusive bool `json:"exclusive,omitempty"`
	// Provides is the scheme of the service that others can connect to: "mysql".
	Provides string `json:"provides,omitempty"`
	// Bindings names the list of who may connect, which its agents fetch.
	Bindings string `json:"bindings,omitempty"`
	// Job names what its agent has to do once: a backup, a restore.
	Job string `json:"job,omitempty"`

	// Removed: the subscription is gone. The members are terminated, then the
	// record goes.
	Removed bool `json:"removed,omitempty"`
}

// Route says which requests a cluster serves.
type Route struct {
	Host     string `json:"host"`               // without port, lower case
	Path     string `json:"path,omitempty"`     // prefix; empty: every path
	Port     string `json:"port,omitempty"`     // the plan's name for it; empty: "http"
	Protocol string `json:"protocol,omitempty"` // "http" (default) or "tcp"
	// Listen is the port on which balancers take connections of protocol tcp,
	// which name no host.
	Listen int `json:"listen,omitempty"`
}

// Release is a commit made ready to run: what was built from Revision, by digest.
type Release struct {
	Revision string `json:"revision"` // of the artifact: a Git commit
	Archive  string `json:"archive"`  // digest of the files, in the blob store
	Plan     string `json:"plan"`     // digest of the plan, in the blob store
	// Config names the environment and the secrets that it runs with, which
	// its agents fetch. Empty: none.
	Config string `json:"config,omitempty"`
}

// Same reports whether both are the same release; nil is the same only as nil.
func (r *Release) Same(o *Release) bool {
	if r == nil || o == nil {
		return r == o
	}
	return *r == *o
}

// Refusal says why a release was not taken.
type Refusal struct {
	Release Release   `json:"release"`
	Reason  string    `json:"reason"`
	Log     string    `json:"log,omitempty"` // the end of what it printed
	At      time.Time `json:"at"`
}

// Want is how many members a cluster should have. The Scaler writes it.
type Want struct {
	V       int       `json:"v"`
	Cluster ClusterID `json:"cluster"`
	Size    int       `json:"size"`
	Reason  string    `json:"reason"`
	Policy  string    `json:"policy,omitempty"`
	At      time.Time `json:"at"`
}

// Member is one instance of a cluster. The Cloud Controller writes it.
type Member struct {
	V       int       `json:"v"`
	ID      MemberID  `json:"id"`
	Cluster ClusterID `json:"cluster"`

	State  State     `json:"state"`
	Since  time.Time `json:"since"` // when it came into State
	Reason string    `json:"reason,omitempty"`
	// Deadline is when the present state runs out: the boot, grace or drain
	// deadline, or the end of a tombstone. Zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	Created  time.Time `json:"created"`
	// Failed: it ended, or is ending, before it ever served, through a fault.
	// The next launches of the cluster back off.
	Failed bool `json:"failed,omitempty"`

	Instance  InstanceID `json:"instance,omitempty"`
	Account   string     `json:"account,omitempty"`
	Partition string     `json:"partition,omitempty"`
	Address   string     `json:"address,omitempty"` // where its ports are reached

	Assigned *Release  `json:"assigned,omitempty"` // what it should serve
	Ready    bool      `json:"ready,omitempty"`    // its agent says that Serving is healthy
	Serving  *Runtime  `json:"serving,omitempty"`  // what it serves
	Retiring []Runtime `json:"retiring,omitempty"` // runtimes that finish what they have
	Refused  *Refusal  `json:"refused,omitempty"`  // what it could not bring up
	Restarts int       `json:"restarts,omitempty"` // of the runtime, as its agent counted
	// Bound names the list of bindings that the service of Serving knows.
	Bound string `json:"bound,omitempty"`
	// BindError says why the newest list could not be made known to it.
	BindError string `json:"bindError,omitempty"`

	JoinHash  []byte `json:"joinHash,omitempty"`  // SHA-256 of the one-time token
	PublicKey []byte `json:"publicKey,omitempty"` // Ed25519, of its agent
}

// Runtime is a release that runs on a member, and where.
type Runtime struct {
	Release  Release        `json:"release"`
	Ports    map[string]int `json:"ports"`         // by the plan's names
	TLS      bool           `json:"tls,omitempty"` // its ports take mutual TLS only
	Deadline time.Time      `json:"deadline,omitzero"`
}

// Address is host:port where the runtime is reached on host: its port "http",
// else the one whose name is first. Empty if it has none.
func (r Runtime) Address(host string) string {
	port, ok := r.Ports["http"]
	if !ok {
		if len(r.Ports) == 0 {
			return ""
		}
		port = r.Ports[slices.Sorted(maps.Keys(r.Ports))[0]]
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// Public is the projection that leaves the control plane: without what only
// the Cloud Controller may know.
func (m Member) Public() Member {
	m.JoinHash, m.PublicKey = nil, nil
	return m
}

// splitMemberKey takes a member's key apart.
func splitMemberKey(key string) (ClusterID, MemberID, bool) {
	c, m, ok := strings.Cut(strings.TrimPrefix(key, MemberPrefix), "/")
	return ClusterID(c), MemberID(m), ok
}
