// Package balancer routes requests to members.
//
// A [Table] is the whole routing state: which requests go to which cluster, and
// where that cluster's members are. [Routes] makes it from a topology view, a
// pure function; [Sync] follows the topology and hands every new table, whole,
// to a [Backend]. Backends: proxy (built in), and whoever implements one method.
package balancer

import (
	"context"
	"strings"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// Table is the whole routing state at one revision of the topology. It is
// immutable once it was handed to a backend.
type Table struct {
	Rev      store.Revision
	Routes   []Route // the longest path of a host first
	Clusters map[topology.ClusterID]*Cluster
}

// Route sends what matches to a cluster.
type Route struct {
	Host     string // lower case, without port
	Path     string // prefix, at a segment's end; empty: every path
	Port     string // of the target, by its name
	Protocol string // "http" or "tcp"
	Listen   int    // where balancers take connections of "tcp", which name no host
	Cluster  topology.ClusterID
}

// Cluster is the targets of a cluster and how to choose among them.
type Cluster struct {
	ID      topology.ClusterID
	Tenant  topology.TenantID
	Targets []Target // in the order of their members' ids, then addresses
	// Vacant: no release of it can be served yet, so that no member will come
	// by itself. Requests are answered at once rather than held for one.
	Vacant bool
}

// TargetID names a target: a member's runtime at one address. A member that
// switches its release has two.
type TargetID struct {
	Member  topology.MemberID
	Address string // host:port of the port "http", or of the only one
}

// Target is where requests can go.
type Target struct {
	TargetID
	Host     string
	Ports    map[string]int // by name
	TLS      bool           // its ports take mutual TLS only; the server is named by the member
	Draining bool           // nothing new; finish what it has
}

// ServerName is whom a target that takes TLS proves to be: its certificate is
// for this DNS name, which nobody resolves.
func (t Target) ServerName() string { return strings.ToLower(string(t.Member)) + ".members.stratos" }

// Backend applies tables.
type Backend interface {
	// Apply makes t the routing state, and returns when it is. The table is
	// whole: what it does not have is gone. Applying the same table twice
	// changes nothing. New targets are there before old ones go; requests that
	// a former target has are finished. A failed Apply leaves the former table.
	Apply(ctx context.Context, t *Table) error
}

// Drainer is implemented by backends that know when a target has nothing left to do.
type Drainer interface {
	// Drained reports whether the target is out of rotation in the applied
	// table (draining or absent) and has no request in flight. A target that is
	// still in rotation is not drained.
	Drained(cluster topology.ClusterID, t TargetID) bool
}

// StatReader is implemented by backends that count requests in flight.
type StatReader interface {
	// Stats returns the counts of every cluster of the applied table since the
	// backend began. Integrals and totals never decrease while a cluster is in
	// the table; subtract two readings to know what happened in between.
	Stats() map[topology.ClusterID]Stats
}

// Stats are a cluster's counts.
type Stats struct {
	At              time.Time     // of the reading, with a monotonic part
	InFlight        int           // right now, over all targets
	InFlightTime    time.Duration // the integral: request-seconds in flight so far
	Queued          int           // held right now, because no member serves
	QueuedTime      time.Duration // the integral
	Arrivals        uint64        // requests received
	Served          uint64        // answers given
	Errors          uint64        // answers that the balancer had to make up: 502, 503, 504
	InFlightTargets map[TargetID]int
}
