package proxy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

// routing says which cluster a request is for. It is immutable: Apply makes a
// new one, and requests read whichever is there.
type routing struct {
	hosts map[string][]route // by normal host; the longest path first
}

// route leads to a cluster, whatever its members are at the moment.
type route struct {
	path    string // prefix, at a segment's end; empty: every path
	port    string // of the target, by its name
	cluster *cluster
}

// newRouting takes the HTTP routes of a table. Routes of other protocols are
// not for this engine.
func newRouting(t *balancer.Table, clusters map[topology.ClusterID]*cluster) *routing {
	r := &routing{hosts: map[string][]route{}}
	for _, from := range t.Routes {
		if cmp.Or(from.Protocol, balancer.HTTP) != balancer.HTTP {
			continue
		}
		host := normalHost(from.Host)
		r.hosts[host] = append(r.hosts[host], route{
			path:    strings.TrimSuffix(from.Path, "/"),
			port:    cmp.Or(from.Port, balancer.HTTP),
			cluster: clusters[from.Cluster],
		})
	}
	for _, routes := range r.hosts {
		slices.SortStableFunc(routes, func(a, b route) int { return cmp.Compare(len(b.path), len(a.path)) })
	}
	return r
}

// match finds the route with the longest path for a host, as it stands in a
// request, and a decoded path.
func (r *routing) match(host, path string) (route, bool) {
	for _, to := range r.hosts[normalHost(host)] {
		if under(path, to.path) {
			return to, true
		}
	}
	return route{}, false
}

// under reports whether the path is the prefix or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// normalHost is a host in lower case, without its port, without the brackets
// of an IPv6 address and without the dot at the end of a full name.
func normalHost(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, _, _ = strings.Cut(inner, "]")
		return strings.ToLower(inner)
	}
	if name, _, ok := strings.Cut(host, ":"); ok && strings.Count(host, ":") == 1 {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
