package stream

import (
	"errors"
	"strings"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// ErrScope says that a scope is not well formed.
var ErrScope = errors.New(`invalid scope: want "all", "cluster=ID", "service=NAME" or "tenant=ID"`)

// Scope says which part of the topology is meant. The zero value is all of it.
type Scope struct{ kind, name string }

// The kinds of scopes.
const (
	kindCluster = "cluster"
	kindService = "service"
	kindTenant  = "tenant"
)

// ParseScope reads a scope. Empty means all.
func ParseScope(s string) (Scope, error) {
	if s == "" || s == "all" {
		return Scope{}, nil
	}
	kind, name, ok := strings.Cut(s, "=")
	if !ok || name == "" || len(s) > store.MaxKeyBytes {
		return Scope{}, ErrScope
	}
	switch kind {
	case kindCluster, kindService, kindTenant:
		return Scope{kind: kind, name: name}, nil
	}
	return Scope{}, ErrScope
}

// ClusterScope is the scope of one cluster.
func ClusterScope(id topology.ClusterID) Scope { return Scope{kind: kindCluster, name: string(id)} }

// String returns what ParseScope reads.
func (s Scope) String() string {
	if s.kind == "" {
		return "all"
	}
	return s.kind + "=" + s.name
}

// Has reports whether a cluster belongs to the scope.
func (s Scope) Has(c *topology.ClusterView) bool {
	switch s.kind {
	case kindCluster:
		return string(c.Cluster.ID) == s.name
	case kindService:
		return string(c.Cluster.Service) == s.name
	case kindTenant:
		return string(c.Cluster.Tenant) == s.name
	}
	return true
}

// has is Has for a cluster that may be absent.
func (s Scope) has(c *topology.ClusterView) bool { return c != nil && s.Has(c) }

// scopesOf lists the scopes that a cluster, which may be absent, belongs to.
func scopesOf(c *topology.ClusterView) []Scope {
	if c == nil {
		return nil
	}
	return []Scope{
		{},
		ClusterScope(c.Cluster.ID),
		{kind: kindService, name: string(c.Cluster.Service)},
		{kind: kindTenant, name: string(c.Cluster.Tenant)},
	}
}

// clusters yields the clusters of a scope, in the order of their ids.
func (s Scope) clusters(v *topology.View) func(yield func(*topology.ClusterView) bool) {
	return func(yield func(*topology.ClusterView) bool) {
		if s.kind == kindCluster {
			if c := v.Cluster(topology.ClusterID(s.name)); c != nil {
				yield(c)
			}
			return
		}
		for c := range v.Clusters() {
			if s.Has(c) && !yield(c) {
				return
			}
		}
	}
}

// digest sums up the records of a scope.
func (s Scope) digest(v *topology.View) (d topology.Digest) {
	if s.kind == "" {
		return v.Digest()
	}
	for c := range s.clusters(v) {
		d = d.Plus(c.Digest())
	}
	return d
}
