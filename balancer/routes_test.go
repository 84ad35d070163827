package balancer_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

var update = flag.Bool("update", false, "write the golden files")

// view folds records into a view.
func view(t testing.TB, rev store.Revision, records ...any) *topology.View {
	var events []store.Event
	for _, r := range records {
		var key string
		switch r := r.(type) {
		case topology.Cluster:
			key = topology.ClusterKey(r.ID)
		case topology.Member:
			key = topology.MemberKey(r.Cluster, r.ID)
		}
		value, err := json.Marshal(r)
		require.NoError(t, err)
		events = append(events, store.Event{KV: store.KV{Key: key, Value: value, Mod: rev}})
	}
	v, err := (&topology.View{}).With(rev, events)
	require.NoError(t, err)
	return v
}

func cluster(id topology.ClusterID, routes ...topology.Route) topology.Cluster {
	return topology.Cluster{ID: id, Tenant: "acme", Routes: routes}
}

func member(c topology.ClusterID, id topology.MemberID, s topology.State, serving *topology.Runtime, retiring ...topology.Runtime) topology.Member {
	return topology.Member{Cluster: c, ID: id, State: s, Address: "10.0.0.1", Serving: serving, Retiring: retiring}
}

func on(ports ...int) *topology.Runtime {
	names := []string{"http", "admin", "debug"}
	r := &topology.Runtime{Ports: map[string]int{}}
	for i, p := range ports {
		r.Ports[names[i]] = p
	}
	return r
}

func TestRoutes(t *testing.T) {
	web := topology.Route{Host: "shop.example"}
	secure := on(443)
	secure.TLS = true
	unnamed := &topology.Runtime{Ports: map[string]int{"mysql": 3306}}
	several := &topology.Runtime{Ports: map[string]int{"smtp": 25, "imap": 143}}
	tests := []struct {
		name    string
		records []any
	}{
		{"empty", nil},
		{"states", []any{cluster("acme.shop", web),
			member("acme.shop", "m1-created", topology.Created, nil),
			member("acme.shop", "m2-starting", topology.Starting, on(2), *on(102)),
			member("acme.shop", "m3-active", topology.Active, on(3), *on(103), *on(203)),
			member("acme.shop", "m4-suspended", topology.Suspended, on(4), *on(104)),
			member("acme.shop", "m5-maintenance", topology.InMaintenance, on(5), *on(105)),
			member("acme.shop", "m6-ready", topology.ReadyToShutDown, on(6), *on(106)),
			member("acme.shop", "m7-terminating", topology.Terminating, on(7), *on(107)),
			member("acme.shop", "m8-terminated", topology.Terminated, on(8)),
			member("acme.shop", "m9-nothing", topology.Active, nil)}},
		{"paths", []any{cluster("acme.shop", topology.Route{Host: "Shop.Example."}, topology.Route{Host: "shop.example", Path: "/t/acme/"},
			topology.Route{Host: "shop.example", Path: "t/acme/admin", Port: "admin"}, topology.Route{Host: "a.example", Path: "/"},
			topology.Route{Host: "db.example", Path: "/x", Protocol: "tcp", Port: "mysql", Listen: 23000})}},
		{"listen", []any{
			cluster("b.db", topology.Route{Protocol: "tcp", Port: "mysql", Listen: 23001}, topology.Route{Protocol: "tcp", Port: "mysql", Listen: 23002}),
			cluster("a.db", topology.Route{Protocol: "tcp", Port: "mysql", Listen: 23001}, topology.Route{Protocol: "tcp", Port: "nowhere"}, web)}},
		{"same-host-and-path", []any{
			cluster("b.shop", web, topology.Route{Host: "b.example"}),
			cluster("a.shop", web, web, topology.Route{Host: "shop.example", Path: "/x"}),
			cluster("c.shop", topology.Route{Host: "SHOP.example", Path: "/x/"})}},
		{"removed", []any{
			topology.Cluster{ID: "acme.idle", Routes: []topology.Route{web}, Removed: true},
			topology.Cluster{ID: "acme.shop", Routes: []topology.Route{web}, Removed: true},
			member("acme.shop", "m1", topology.Active, on(1)),
			member("acme.gone", "m2", topology.Active, on(2), *on(102))}},
		{"ports", []any{cluster("acme.shop", web),
			member("acme.shop", "m1", topology.Active, on(80, 81)),
			member("acme.shop", "m2", topology.Active, unnamed),
			member("acme.shop", "m3", topology.Active, several),
			member("acme.shop", "m4", topology.Active, &topology.Runtime{}),
			member("acme.shop", "m5", topology.Active, on(80), *on(80)),
			topology.Member{Cluster: "acme.shop", ID: "m6", State: topology.Active, Serving: on(80)},
			topology.Member{Cluster: "acme.shop", ID: "m7", State: topology.Active, Serving: on(80), Address: "fe80::1"}}},
		{"tls", []any{cluster("acme.shop", web), member("acme.shop", "m1", topology.Active, secure, *on(80))}},
		{"order", []any{cluster("acme.shop", web),
			topology.Member{Cluster: "acme.shop", ID: "b", Created: time.Unix(1, 0), State: topology.Active, Address: "h", Serving: on(1)},
			topology.Member{Cluster: "acme.shop", ID: "a", Created: time.Unix(2, 0), State: topology.Active, Address: "h", Serving: on(3), Retiring: []topology.Runtime{*on(2)}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := view(t, 7, test.records...)
			table := balancer.Routes(v)
			got, err := json.MarshalIndent(table, "", "\t")
			require.NoError(t, err)
			golden := filepath.Join("testdata", test.name+".json")
			if *update {
				require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "go test -update writes it")
			require.Equal(t, string(want), string(got)+"\n")
			require.True(t, table.Same(balancer.Routes(v)), "a pure function")
		})
	}
}

func TestSame(t *testing.T) {
	base := func() *balancer.Table {
		return balancer.Routes(view(t, 1, cluster("c", topology.Route{Host: "h"}), member("c", "m", topology.Active, on(80))))
	}
	tests := []struct {
		name   string
		change func(*balancer.Table)
		want   bool
	}{
		{"nothing", func(*balancer.Table) {}, true},
		{"revision", func(o *balancer.Table) { o.Rev = 99 }, true},
		{"route", func(o *balancer.Table) { o.Routes[0].Path = "/x" }, false},
		{"one more route", func(o *balancer.Table) { o.Routes = append(o.Routes, balancer.Route{}) }, false},
		{"one more cluster", func(o *balancer.Table) { o.Clusters["d"] = &balancer.Cluster{} }, false},
		{"tenant", func(o *balancer.Table) { o.Clusters["c"].Tenant = "other" }, false},
		{"draining", func(o *balancer.Table) { o.Clusters["c"].Targets[0].Draining = true }, false},
		{"port", func(o *balancer.Table) { o.Clusters["c"].Targets[0].Ports["http"] = 81 }, false},
		{"no targets", func(o *balancer.Table) { o.Clusters["c"].Targets = nil }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := base()
			test.change(o)
			require.Equal(t, test.want, base().Same(o))
			require.Equal(t, test.want, o.Same(base()))
		})
	}
	require.False(t, base().Same(nil))
	require.True(t, (*balancer.Table)(nil).Same(nil))
}

func TestPort(t *testing.T) {
	tests := []struct {
		name  string
		ports map[string]int
		ask   string
		want  string
		ok    bool
	}{
		{"by name", map[string]int{"http": 80, "admin": 81}, "admin", "h:81", true},
		{"the only one", map[string]int{"web": 80}, "http", "h:80", true},
		{"the only one by another name", map[string]int{"web": 80}, "admin", "", false},
		{"none of several", map[string]int{"a": 80, "b": 81}, "http", "", false},
		{"none", nil, "http", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := balancer.Target{Host: "h", Ports: test.ports}
			got, ok := target.Port(test.ask)
			require.Equal(t, test.ok, ok)
			require.Equal(t, test.want, got)
		})
	}
}

func ExampleRoutes() {
	record := func(key, value string) store.Event {
		return store.Event{KV: store.KV{Key: key, Value: []byte(value)}}
	}
	view, err := (&topology.View{}).With(1, []store.Event{
		record("clusters/acme.shop", `{"id":"acme.shop","routes":[{"host":"shop.example"}]}`),
		record("members/acme.shop/m1", `{"id":"m1","state":"Active","address":"10.0.0.1","serving":{"ports":{"http":8080}}}`),
		record("members/acme.shop/m2", `{"id":"m2","state":"InMaintenance","address":"10.0.0.2","serving":{"ports":{"http":8080}}}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	table := balancer.Routes(view)
	for _, r := range table.Routes {
		fmt.Println(r.Host, "->", r.Cluster)
		for _, t := range table.Clusters[r.Cluster].Targets {
			fmt.Println(t.Member, t.Address, "draining:", t.Draining)
		}
	}
	// Output:
	// shop.example -> acme.shop
	// m1 10.0.0.1:8080 draining: false
	// m2 10.0.0.2:8080 draining: true
}
