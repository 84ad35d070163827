package balancer

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gostratos/stratos/topology"
)

// HTTP is the name of the port that a route means when it names none, and of
// the protocol that it means when it names none.
const HTTP = "http"

// TCP is the other protocol of a route.
const TCP = "tcp"

// Routes makes the routing state of a view. It is a pure function.
//
//   - The serving runtime of an Active member is in rotation; that of a
//     Suspended member or of one InMaintenance drains, and so does every
//     retiring runtime of a member that has not been told to stop for good.
//   - A cluster that is removed, or whose record is gone, has no routes, and
//     what is left of it drains.
//   - Of two clusters with one host and path, the one with the smaller id gets
//     the requests, so that every balancer decides alike; the other keeps its
//     remaining routes.
//   - A route of protocol "tcp" has a port to listen on, and neither host nor
//     path; one without a port is none.
//   - A runtime without a port "http" and with several others is named by the
//     first of them in the order of their names.
func Routes(v *topology.View) *Table {
	t := &Table{Rev: v.Rev, Clusters: map[topology.ClusterID]*Cluster{}}
	taken := map[Route]bool{} // without port and cluster
	for c := range v.Clusters() {
		serves := c.Known && !c.Cluster.Removed
		targets := targetsOf(c, serves)
		if !serves && len(targets) == 0 {
			continue
		}
		id := c.Cluster.ID
		t.Clusters[id] = &Cluster{ID: id, Tenant: c.Cluster.Tenant, Targets: targets, Vacant: serves && c.Cluster.Current == nil}
		if !serves {
			continue
		}
		for _, r := range c.Cluster.Routes {
			route := routeOf(r)
			if route.Protocol == TCP && route.Listen <= 0 {
				continue
			}
			if !taken[route] {
				taken[route] = true
				route.Port, route.Cluster = cmp.Or(r.Port, HTTP), id
				t.Routes = append(t.Routes, route)
			}
		}
	}
	slices.SortFunc(t.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(len(b.Path), len(a.Path)),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Listen, b.Listen))
	})
	return t
}

// routeOf brings a route's host and path into the one form that can be compared.
func routeOf(r topology.Route) Route {
	if r.Protocol == TCP {
		return Route{Protocol: TCP, Listen: r.Listen}
	}
	path := strings.Trim(r.Path, "/")
	if path != "" {
		path = "/" + path
	}
	return Route{
		Host:     strings.TrimSuffix(strings.ToLower(r.Host), "."),
		Path:     path,
		Protocol: cmp.Or(r.Protocol, HTTP),
	}
}

// targetsOf is where a cluster's requests can go, and where some may still be.
func targetsOf(c *topology.ClusterView, serves bool) []Target {
	var all []Target
	for _, m := range c.Members() {
		all = append(all, memberTargets(m.Member, serves)...)
	}
	slices.SortFunc(all, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Address, b.Address))
	})
	return all
}

func memberTargets(m topology.Member, serves bool) []Target {
	var all []Target
	add := func(r topology.Runtime, draining bool) {
		t, ok := targetOf(m, r, draining)
		// A runtime that is named twice is what it was named first: it serves.
		if ok && !slices.ContainsFunc(all, func(o Target) bool { return o.TargetID == t.TargetID }) {
			all = append(all, t)
		}
	}
	switch m.State {
	case topology.Active, topology.Suspended, topology.InMaintenance:
		if m.Serving != nil {
			add(*m.Serving, !serves || m.State != topology.Active)
		}
	case topology.Starting:
		// What it serves has yet to become healthy; what retires may be finishing.
	default:
		return nil
	}
	for _, r := range m.Retiring {
		add(r, true)
	}
	return all
}

// targetOf is a member's runtime as a target, if it can be reached.
func targetOf(m topology.Member, r topology.Runtime, draining bool) (Target, bool) {
	address := r.Address(m.Address)
	if m.Address == "" || address == "" {
		return Target{}, false
	}
	return Target{
		TargetID: TargetID{Member: m.ID, Address: address},
		Host:     m.Address,
		Ports:    maps.Clone(r.Ports),
		TLS:      r.TLS,
		Draining: draining,
	}, true
}
