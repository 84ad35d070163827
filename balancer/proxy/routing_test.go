package proxy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/topology"
)

func TestNormalHost(t *testing.T) {
	tests := []struct{ name, host, want string }{
		{"plain", "shop.example", "shop.example"},
		{"letters", "Shop.EXAMPLE", "shop.example"},
		{"port", "shop.example:8080", "shop.example"},
		{"full name", "shop.example.", "shop.example"},
		{"full name and port", "shop.example.:80", "shop.example"},
		{"IPv4", "10.0.0.1:80", "10.0.0.1"},
		{"IPv6", "[::1]:80", "::1"},
		{"IPv6 without a port", "[FE80::1]", "fe80::1"},
		{"bare IPv6", "::1", "::1"},
		{"empty", "", ""},
		{"only a port", ":80", ""},
		{"broken brackets", "[::1", "::1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, normalHost(test.host)) })
	}
}

// FuzzMatch compares matching with the rule in its plainest form: split the
// path into segments, and take the route that agrees in most of them.
func FuzzMatch(f *testing.F) {
	f.Add("shop.example:80", "/t/a/b")
	f.Add("Shop.Example.", "/t/ab")
	f.Add("[::1]:80", "/t/a/../b")
	f.Add("", "")
	f.Add("other.example", "//")
	f.Add("shop.example:80:80", "/t/a//")
	paths := []string{"", "/t", "/t/a", "/t/a/b", "/u"}
	clusters := map[topology.ClusterID]*cluster{}
	table := &balancer.Table{}
	for _, p := range paths {
		id := topology.ClusterID("c" + p)
		clusters[id] = newCluster(id, 0)
		table.Routes = append(table.Routes, balancer.Route{Host: "shop.example", Path: p, Cluster: id})
	}
	table.Routes = append(table.Routes, balancer.Route{Host: "::1", Path: "/t/", Cluster: "c/t"})
	routes := newRouting(table, clusters)
	f.Fuzz(func(t *testing.T, host, path string) {
		got, ok := routes.match(host, path)
		if normal := normalHost(host); normal != "shop.example" {
			require.True(t, !ok || normal == "::1")
			return
		}
		require.True(t, ok, "the host has a route for every path")
		best := ""
		for _, p := range paths {
			if segmentsAgree(p, path) && len(p) > len(best) {
				best = p
			}
		}
		require.Equal(t, best, got.path)
		require.Same(t, clusters[topology.ClusterID("c"+best)], got.cluster)
	})
}

func segmentsAgree(prefix, path string) bool {
	want, have := strings.Split(prefix, "/"), strings.Split(path, "/")
	if len(want) > len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] {
			return false
		}
	}
	return true
}

// FuzzNormalHost: a normal host stays what it is, and is safe in a line of text.
func FuzzNormalHost(f *testing.F) {
	for _, host := range []string{"Shop.example:80", "[::1]:80", "::1", "a..", "[", ":", "a:b:c", "İ.example"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		once := normalHost(host)
		require.Equal(t, strings.ToLower(once), once)
		require.False(t, strings.Count(once, ":") == 1 && !strings.HasPrefix(host, "["), "a port stayed in %q", once)
	})
}
