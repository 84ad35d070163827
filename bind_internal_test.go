package stratos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// derived is a deriver whose test plays the agents and the coordinator.
type derived struct {
	*deriver
	t *testing.T
}

func newDerived(t *testing.T) *derived {
	s := mem.New()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	lead, err := store.Campaign(t.Context(), s, "control", "test", time.Minute)
	require.NoError(t, err)
	p := &Platform{
		cfg:   Config{Name: "test", Domain: "localhost", ServicePorts: PortRange{23000, 23001}},
		store: s, coordinator: &artifact.Coordinator{}, recorder: &autoscale.Recorder{}, logs: &api.Logs{Dir: t.TempDir()},
	}
	p.replica.secrets = make([]byte, 32)
	return &derived{t: t, deriver: &deriver{
		Platform: p, guard: lead.Guard(), synchronised: map[artifact.Key]time.Time{}, wishes: map[artifact.Key]artifact.Wish{},
	}}
}

func put[T any](d *derived, key string, v T) {
	d.t.Helper()
	rec, err := store.Read[T](d.t.Context(), d.store, key)
	if err != nil {
		require.ErrorIs(d.t, err, store.ErrNotFound)
		rec = store.NewRecord(key, v)
	}
	rec.Value = v
	op, err := rec.Put()
	require.NoError(d.t, err)
	_, err = d.store.Commit(d.t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(d.t, err)
}

func (d *derived) subscribed(alias, service string, f facts) {
	put(d, tenant.SubscriptionKey("t", alias), tenant.Subscription{Tenant: "t", Alias: alias, Cartridge: service, Min: 1, Max: 3})
	note, err := json.Marshal(f)
	require.NoError(d.t, err)
	k := artifact.Key{Tenant: "t", Alias: alias}
	put(d, artifact.ReleaseKey(k, "r1"), artifact.Release{Revision: "r1", State: artifact.Built, Archive: "a", Plan: "p", Note: note})
	put(d, artifact.RepositoryKey(k), artifact.Repository{Head: "r1"})
}

// settle derives until nothing changes any more.
func (d *derived) settle() {
	d.t.Helper()
	for before := store.Revision(-1); ; {
		page, err := d.store.List(d.t.Context(), "", store.ReadOptions{})
		require.NoError(d.t, err)
		if page.Rev == before {
			return
		}
		before = page.Rev
		dirty := map[artifact.Key]bool{}
		for _, kv := range page.KVs {
			d.touch(dirty, kv.Key)
		}
		require.NoError(d.t, d.readBindings(d.t.Context()))
		require.NoError(d.t, d.readListens(d.t.Context()))
		d.touchDependents(dirty)
		require.NoError(d.t, d.deriveAll(d.t.Context(), dirty))
	}
}

func (d *derived) cluster(alias string) topology.Cluster {
	d.t.Helper()
	d.settle()
	rec, err := store.Read[topology.Cluster](d.t.Context(), d.store, topology.ClusterKey(clusterOf("t", alias)))
	require.NoError(d.t, err)
	return rec.Value
}

// serves is an agent's word: its member serves what is the candidate or current.
func (d *derived) serves(alias, bound string) {
	c := d.cluster(alias)
	r := c.Current
	if c.Candidate != nil {
		r = c.Candidate
	}
	put(d, topology.MemberKey(c.ID, "m"), topology.Member{
		ID: "m", Cluster: c.ID, State: topology.Active, Assigned: r, Serving: &topology.Runtime{Release: *r}, Ready: true, Bound: bound,
	})
}

var database = facts{Exclusive: true, Provides: "mysql", Port: "mysql"}

func TestProviderIsReachedByItsOwnPort(t *testing.T) {
	d := newDerived(t)
	d.subscribed("db", "mysql", database)
	d.subscribed("web", "php", facts{HTTP: true})
	d.subscribed("other", "mysql", database)
	db, web, other := d.cluster("db"), d.cluster("web"), d.cluster("other")
	require.Equal(t, []topology.Route{{Protocol: "tcp", Port: "mysql", Listen: 23000}}, db.Routes)
	require.Equal(t, []topology.Route{{Host: "web.t.localhost"}}, web.Routes)
	require.Equal(t, 23001, listenOf(other))
	require.True(t, db.Exclusive)
	require.Equal(t, [2]int{1, 1}, [2]int{db.Min, db.Max}, "one folder is for one member")
	require.Equal(t, "mysql", db.Provides)
	require.NotEqual(t, db.Data, other.Data)

	d.subscribed("third", "mysql", database)
	third := d.cluster("third")
	require.Equal(t, "a port for its service: none of 23000-23001 is left, configure more", third.Waits)
	require.Nil(t, third.Candidate)
	require.NoError(t, d.Unsubscribe(t.Context(), "t", "other"))
	d.settle()
	third = d.cluster("third")
	require.Empty(t, third.Waits)
	require.Equal(t, 23001, listenOf(third))
	require.NotNil(t, third.Candidate)
}

// TestConnection follows a connection from the wish to the environment and back.
func TestConnection(t *testing.T) {
	d := newDerived(t)
	d.subscribed("db", "mysql", database)
	d.subscribed("my-blog", "php", facts{HTTP: true})
	require.NoError(t, d.Connect(t.Context(), "t", "my-blog", "db"))
	require.NoError(t, d.Connect(t.Context(), "t", "my-blog", "db"), "connected already")
	blog := d.cluster("my-blog")
	require.Equal(t, "the connection to db", blog.Waits)
	require.Nil(t, blog.Candidate, "it would fail without its database")

	d.serves("db", "")
	db := d.cluster("db")
	require.NotEmpty(t, db.Bindings)
	list, err := d.Bindings(t.Context(), db.ID)
	require.NoError(t, err)
	require.Equal(t, db.Bindings, list.ID)
	require.Len(t, list.All, 1)
	require.Equal(t, "myblog8319cf", list.All[0].Database)
	require.Len(t, list.All[0].Password, 32)
	require.Equal(t, "the connection to db", d.cluster("my-blog").Waits, "the service knows nothing yet")

	d.serves("db", db.Bindings)
	blog = d.cluster("my-blog")
	require.Empty(t, blog.Waits)
	require.NotEmpty(t, blog.Candidate.Config)
	a := wire.Assignment{}
	require.NoError(t, d.Runtime(t.Context(), blog.ID, &a))
	user, password := list.All[0].User, list.All[0].Password
	u := fmt.Sprintf("mysql://%s:%s@127.0.0.1:23000/myblog8319cf", user, password)
	require.Equal(t, map[string]string{
		"DATABASE_URL": u, "DB_URL": u, "DB_HOST": "127.0.0.1", "DB_PORT": "23000", "DB_NAME": "myblog8319cf", "DB_USER": user, "DB_PASSWORD": password,
	}, a.Env)
	parsed, err := url.Parse(u)
	require.NoError(t, err)
	require.Equal(t, "23000", parsed.Port())

	// Its provider is away for a moment: nothing changes for it.
	before := blog.Candidate.Config
	d.serves("db", "")
	require.Equal(t, before, d.cluster("my-blog").Candidate.Config)

	// A second database: DATABASE_URL stays that of the first.
	d.subscribed("a-stats", "mysql", database)
	d.serves("a-stats", "")
	require.NoError(t, d.Connect(t.Context(), "t", "my-blog", "a-stats"))
	d.serves("a-stats", d.cluster("a-stats").Bindings)
	d.settle()
	require.NoError(t, d.Runtime(t.Context(), blog.ID, &a))
	require.Equal(t, u, a.Env["DATABASE_URL"])
	require.Equal(t, "23001", a.Env["A_STATS_PORT"])
	require.NotEqual(t, password, a.Env["A_STATS_PASSWORD"])

	require.ErrorIs(t, d.Unsubscribe(t.Context(), "t", "db"), api.ErrInUse)
	require.NoError(t, d.Disconnect(t.Context(), "t", "my-blog", "db"))
	require.ErrorIs(t, d.Disconnect(t.Context(), "t", "my-blog", "db"), store.ErrNotFound)
	require.NotEqual(t, db.Bindings, d.cluster("db").Bindings, "its agent is told to revoke")
	require.NoError(t, d.Runtime(t.Context(), blog.ID, &a))
	require.NotContains(t, a.Env, "DB_PASSWORD")
	require.NotEqual(t, before, d.cluster("my-blog").Candidate.Config, "it is switched to one without")
	require.NoError(t, d.Connect(t.Context(), "t", "my-blog", "db"))
	again, err := d.Bindings(t.Context(), db.ID)
	require.NoError(t, err)
	require.NotEqual(t, user, again.All[0].User)
	require.NotEqual(t, password, again.All[0].Password)
	require.Equal(t, "myblog8319cf", again.All[0].Database, "what it stored is there again")

	// Who unsubscribes is disconnected.
	require.NoError(t, d.Unsubscribe(t.Context(), "t", "my-blog"))
	d.settle()
	again, err = d.Bindings(t.Context(), db.ID)
	require.NoError(t, err)
	require.Empty(t, again.All)
	require.Equal(t, again.ID, d.cluster("db").Bindings)
	require.NoError(t, d.Unsubscribe(t.Context(), "t", "db"))
	requireNoSecrets(t, d, password)
}

// requireNoSecrets looks whether a secret is in the store.
func requireNoSecrets(t *testing.T, d *derived, secret string) {
	t.Helper()
	page, err := d.store.List(context.Background(), "", store.ReadOptions{})
	require.NoError(t, err)
	for _, kv := range page.KVs {
		require.False(t, strings.Contains(string(kv.Value), secret), kv.Key)
	}
}

func TestConnectRefuses(t *testing.T) {
	d := newDerived(t)
	d.subscribed("web", "php", facts{HTTP: true})
	d.subscribed("blog", "php", facts{HTTP: true})
	d.serves("web", "")
	d.settle()
	require.ErrorContains(t, d.Connect(t.Context(), "t", "blog", "blog"), "to itself")
	require.ErrorIs(t, d.Connect(t.Context(), "t", "blog", "db"), store.ErrNotFound)
	require.ErrorIs(t, d.Connect(t.Context(), "t", "db", "web"), store.ErrNotFound)
	require.ErrorIs(t, d.Connect(t.Context(), "other", "blog", "web"), store.ErrNotFound)
	err := d.Connect(t.Context(), "t", "blog", "web")
	require.ErrorIs(t, err, tenant.ErrInvalid)
	require.ErrorContains(t, err, "its cartridge, php, provides nothing to connect to")
}

func TestSecretsOfAPlan(t *testing.T) {
	d := newDerived(t)
	d.subscribed("db", "mysql", database)
	d.subscribed("two", "mysql", database)
	secrets := func(alias string) map[string]string {
		a := wire.Assignment{}
		a.Plan.Secrets = []string{"root", "repl"}
		require.NoError(t, d.Runtime(t.Context(), d.cluster(alias).ID, &a))
		require.Equal(t, d.cluster(alias).Data, a.Data)
		return a.Secrets
	}
	db := secrets("db")
	require.Len(t, db["root"], 32)
	require.NotEqual(t, db["root"], db["repl"])
	require.NotEqual(t, db["root"], secrets("two")["root"])
	require.Equal(t, db, secrets("db"), "the same at every start")
	d.replica.secrets = append(make([]byte, 31), 1)
	require.NotEqual(t, db["root"], secrets("db")["root"], "of the master key")
}
