package etcd_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := l.Addr().String()
	require.NoError(t, l.Close())
	for _, test := range []struct {
		name   string
		config etcd.Config
		says   string
	}{
		{"no endpoints", etcd.Config{}, "no endpoints"},
		{"another machine without TLS", etcd.Config{Endpoints: []string{"192.0.2.1:2379"}}, "set Config.TLS"},
		{"a user without password", etcd.Config{Endpoints: []string{dead}, Username: "me"}, "go together"},
		{"a long prefix", etcd.Config{Endpoints: []string{dead}, Prefix: string(make([]byte, 300))}, "300 bytes"},
		{"nobody there", etcd.Config{Endpoints: []string{dead}}, "no endpoint answers"},
		{"nobody there names the endpoint", etcd.Config{Endpoints: []string{dead}, DialTimeout: time.Second}, dead},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := etcd.Open(t.Context(), test.config)
			require.ErrorContains(t, err, test.says)
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = etcd.Open(ended, etcd.Config{Endpoints: []string{dead}})
	require.ErrorIs(t, err, context.Canceled)
}

// TestReplicasAgree: several replicas open a new store at the same time; one
// of the endpoints is dead.
func TestReplicasAgree(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{})
	var g errgroup.Group
	ids := make([]store.ID, 8)
	for i := range ids {
		g.Go(func() error {
			s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: append(c.Endpoints(), "127.0.0.1:1")})
			if err != nil {
				return err
			}
			if ids[i], err = s.ID(t.Context()); err != nil {
				return err
			}
			return s.Close()
		})
	}
	require.NoError(t, g.Wait())
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	other := open(t, etcd.Config{Endpoints: c.Endpoints(), Prefix: "other/"})
	id, err := other.ID(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, ids[0], id, "another prefix is another store")
}

// TestRestoredSnapshotIsRefused: what a restore changes is changed in the
// store's own record, as seen from the cluster it was made of.
func TestRestoredSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	c := etcdserver.Run(t, etcdserver.Options{})
	config := etcd.Config{Endpoints: c.Endpoints()}
	ctx := t.Context()
	s := open(t, config)
	before, err := s.ID(ctx)
	require.NoError(t, err)
	client := connect(t, c)
	defer func() { require.NoError(t, client.Close()) }()
	for _, test := range []struct {
		name   string
		field  string
		change func(any) any
	}{
		{"another cluster", "cluster", func(any) any { return "abc" }},
		{"a log that began anew", "lead", func(lead any) any { return lead.(float64) - 1000 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := client.Get(ctx, "stratos/id")
			require.NoError(t, err)
			var record map[string]any
			require.NoError(t, json.Unmarshal(got.Kvs[0].Value, &record))
			record[test.field] = test.change(record[test.field])
			value, err := json.Marshal(record)
			require.NoError(t, err)
			_, err = client.Put(ctx, "stratos/id", string(value))
			require.NoError(t, err)

			_, err = etcd.Open(ctx, config)
			require.ErrorContains(t, err, "restored")
			require.ErrorContains(t, err, "RaiseGeneration")
			raised, err := etcd.RaiseGeneration(ctx, config)
			require.NoError(t, err)
			require.Equal(t, store.ID{UUID: before.UUID, Generation: before.Generation + 1}, raised)
			after, err := open(t, config).ID(ctx)
			require.NoError(t, err)
			require.Equal(t, raised, after)
			before = after
		})
	}
	_, err = etcd.RaiseGeneration(ctx, etcd.Config{Endpoints: c.Endpoints(), Prefix: "typo/"})
	require.ErrorContains(t, err, "is the prefix right?")
	_, err = client.Put(ctx, "stratos/id", "{")
	require.NoError(t, err)
	_, err = etcd.Open(ctx, config)
	require.ErrorContains(t, err, "damaged")
}

func TestBadTLS(t *testing.T) {
	t.Parallel()
	good, other := newAuthority(t), newAuthority(t)
	server := good.issue(t, time.Hour)
	expired := good.issue(t, -time.Minute)
	client := good.issue(t, time.Hour)
	ask := &tls.Config{RootCAs: good.pool, Certificates: []tls.Certificate{client.certificate(t)}}
	args := func(p pair) []string {
		return []string{"--cert-file", p.cert, "--key-file", p.key, "--client-cert-auth", "--trusted-ca-file", good.file}
	}
	c := etcdserver.Run(t, etcdserver.Options{TLS: ask, Args: args(server)})
	s := open(t, etcd.Config{Endpoints: c.Endpoints(), TLS: ask})
	_, err := s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "a", Value: []byte("1")}}})
	require.NoError(t, err)

	stale := etcdserver.Run(t, etcdserver.Options{
		TLS: &tls.Config{InsecureSkipVerify: true, Certificates: ask.Certificates}, Args: args(expired),
	})
	plain := etcdserver.Run(t, etcdserver.Options{})
	host := func(c *etcdserver.Cluster) []string { return []string{c.Endpoints()[0][len("https://"):]} }
	for _, test := range []struct {
		name      string
		endpoints []string
		tls       *tls.Config
		says      string
	}{
		{"a server of another authority", c.Endpoints(), &tls.Config{RootCAs: other.pool}, "unknown authority"},
		{"an expired server", stale.Endpoints(), ask, "expired"},
		{"no client certificate", c.Endpoints(), &tls.Config{RootCAs: good.pool}, "without a client certificate"},
		{"TLS to a plain server", []string{plain.Endpoints()[0][len("http://"):]}, ask, "handshake"},
		{"plain to a TLS server", host(c), nil, "without TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := etcd.Open(t.Context(), etcd.Config{Endpoints: test.endpoints, TLS: test.tls})
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "no endpoint answers")
		})
	}
}
