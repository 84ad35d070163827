package stratos_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/balancer"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store/etcd"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// several is two control planes on one etcd, and a balancer on its own.
type several struct {
	t        *testing.T
	dir      string
	server   *etcdserver.Cluster
	replicas [2]*bed
	stores   [2]*etcd.Store
	ways     [2]*relay // from each replica to the etcd server
	listen   string    // of the balancer
	balancer func()    // ends it
}

// newSeveral starts them; at the end of the test nothing of them may be left.
func newSeveral(t *testing.T) *several {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	server, err := etcdserver.Start(context.Background(), etcdserver.Options{})
	require.NoError(t, err)
	s := &several{t: t, dir: dir, listen: freeAddr(t), server: server, balancer: func() {}}
	t.Cleanup(s.end)
	apis := [2]string{freeAddr(t), freeAddr(t)}
	for i, api := range apis {
		s.ways[i] = newRelay(t, server.Endpoints()[0])
		st, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{s.ways[i].url()}})
		require.NoError(t, err)
		s.stores[i] = st
		b := &bed{t: t, ctx: ctx, log: &syncBuffer{}, client: &http.Client{Timeout: 60 * time.Second}}
		cfg := testConfig(t, filepath.Join(dir, fmt.Sprint("replica", i)))
		cfg.Log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.API, cfg.Replicas = api, []string{"http://" + apis[1-i], "http://" + api} // the other one first
		cfg.Store, cfg.Blobs = st, &artifact.DirBlobs{Path: filepath.Join(dir, "blobs")}
		cfg.MasterKey = filepath.Join(dir, "master.key")
		cfg.Accounts = []*cloud.Account{{Name: "here", Driver: &local.Driver{Dir: filepath.Join(dir, "cloud")}}}
		cfg.Balancer, cfg.Drain = balancer.Elsewhere{}, 10*time.Minute
		b.start(cfg)
		b.listen = s.listen
		s.replicas[i] = b
		s.awaitLeader(0) // the first one, also when there is a second
	}
	// The token is made by the replica that did not make its bearer's.
	token, err := s.client(1, s.adminToken(0)).NewToken(ctx, tenant.TokenBalancer, "edge")
	require.NoError(t, err)
	s.balance(stratos.Balancer{
		Control: []string{"http://" + apis[1], "http://" + apis[0]}, // the follower first
		Token:   token, Dir: filepath.Join(dir, "balancer"), Name: "edge", Listen: s.listen, Log: s.replicas[0].Config().Log,
	})
	return s
}

// end ends everything, and looks whether something is left.
func (s *several) end() {
	s.balancer()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, b := range s.replicas {
		if b != nil {
			b.stop()
		}
	}
	for i, b := range s.replicas {
		if b != nil && i == len(s.replicas)-1 {
			require.NoError(s.t, b.Shutdown(ctx))
		}
	}
	for i, b := range s.replicas {
		if b != nil {
			require.NoError(s.t, b.Close())
			require.NoError(s.t, s.stores[i].Close())
			b.client.CloseIdleConnections()
		}
		if s.ways[i] != nil {
			s.ways[i].close()
		}
	}
	require.NoError(s.t, s.server.Close())
	require.Empty(s.t, processesOf(s.t, s.dir), "processes are left over")
	require.Eventually(s.t, func() bool { return len(goroutines()) == 0 }, patience, 10*time.Millisecond,
		"goroutines are left behind: %s", goroutines())
	for i, b := range s.replicas {
		if b != nil && s.t.Failed() {
			s.t.Logf("replica %d:\n%s", i, b.log)
		}
	}
}

// balance runs a balancer until the test ends.
func (s *several) balance(b stratos.Balancer) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.balancer = func() {
		cancel()
		require.NoError(s.t, <-done)
	}
}

func (s *several) adminToken(i int) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.replicas[i].Config().Dir, "admin.token"))
	require.NoError(s.t, err)
	return strings.TrimSpace(string(text))
}

// client calls one replica.
func (s *several) client(i int, token string) *client.Client {
	return &client.Client{URLs: []string{s.replicas[i].Config().URL}, Token: token, HTTP: s.replicas[i].client}
}

// leader asks a replica who leads.
func (s *several) leader(i int) (url string, self bool) {
	var st struct {
		Leader string
		Self   bool
	}
	if err := s.client(i, s.adminToken(i)).Do(s.t.Context(), http.MethodGet, "/v1/leader", nil, &st); err != nil {
		return "", false
	}
	return st.Leader, st.Self
}

// awaitLeader waits until a replica leads, and all that were started know it.
func (s *several) awaitLeader(i int) {
	s.t.Helper()
	want := s.replicas[i].Config().URL
	for j, r := range s.replicas {
		if r == nil {
			continue
		}
		require.Eventually(s.t, func() bool {
			url, self := s.leader(j)
			return url == want && self == (i == j)
		}, patience, 20*time.Millisecond, "replica %d leads", i)
	}
}

// members are those of the cluster that were ever made, by what became of them.
func membersOf(c *topology.ClusterView) (live map[topology.MemberID]topology.InstanceID, all int) {
	live = map[topology.MemberID]topology.InstanceID{}
	for _, m := range c.Members() {
		all++
		if m.Member.State != topology.Terminated {
			live[m.Member.ID] = m.Member.Instance
		}
	}
	return live, all
}

// TestTwoReplicas: what one replica takes, all know; the one that leads goes,
// and the other one leads on, with the same members.
func TestTwoReplicas(t *testing.T) {
	s := newSeveral(t)
	s.awaitLeader(0)
	leads, follows := s.replicas[0], s.replicas[1]
	follows.subscribe(newSite(t, "x"), sized(1, 3)) // a wish told to the one that does not lead
	leads.await("the leader knows it", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 })
	require.Eventually(t, func() bool {
		code, body, err := leads.get("/")
		return err == nil && code == http.StatusOK && body == "x"
	}, patience, 20*time.Millisecond, "the separate balancer serves")

	// The balancer's samples go to the follower, which passes them on.
	stop := leads.load(30, "/slow?s=0.2")
	c := leads.await("it scaled up", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	_, failures := stop()
	require.Empty(t, failures)
	before, made := membersOf(c)
	require.Len(t, before, 3)

	// Nobody but the balancer can say that a member is drained: the deadline is far.
	stop = leads.load(12, "/slow?s=0.5")
	require.NoError(t, follows.Scale(t.Context(), tenant.Default, app, 2, 2))
	c = leads.await("one has drained", func(c *topology.ClusterView) bool {
		return c.Count(topology.Active) == 2 && c.Count(topology.Terminated) == 1
	})
	live, _ := membersOf(c)
	require.Len(t, live, 2)

	leads.stop()
	s.awaitOnly(1)
	require.NoError(t, follows.Scale(t.Context(), tenant.Default, app, 3, 3))
	c = follows.await("the new leader launches", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	after, all := membersOf(c)
	require.Subset(t, after, live, "the members were adopted")
	require.Equal(t, made+1, all, "members ever made")
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
}

// awaitOnly waits until a replica leads while the other one is away.
func (s *several) awaitOnly(i int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { _, self := s.leader(i); return self }, patience, 20*time.Millisecond)
}

// TestLeaderCutOffFromItsStore: it stops leading before another one begins,
// its instances and balancers turn to the other, and it follows when it is back.
func TestLeaderCutOffFromItsStore(t *testing.T) {
	s := newSeveral(t)
	s.awaitLeader(0)
	cut, other := s.replicas[0], s.replicas[1]
	other.subscribe(newSite(t, "x"), sized(2, 2))
	require.Eventually(t, func() bool {
		code, _, err := other.get("/")
		return err == nil && code == http.StatusOK
	}, patience, 20*time.Millisecond, "the separate balancer serves")
	before, made := membersOf(other.view())
	stop := other.load(4, "/slow?s=0.05")

	s.ways[0].cut()
	began := time.Now()
	s.awaitOnly(1)
	t.Logf("another leads after %v", time.Since(began))
	_, self := s.leader(0)
	require.False(t, self, "two lead")
	require.NoError(t, other.Scale(t.Context(), tenant.Default, app, 3, 3))
	c := other.await("the new leader launches", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	after, all := membersOf(c)
	require.Subset(t, after, before)
	require.Equal(t, made+1, all)

	s.ways[0].heal()
	began = time.Now()
	s.awaitLeader(1)
	t.Logf("it follows after %v", time.Since(began))
	cut.await("it knows what happened meanwhile", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	t.Logf("and is up to date after %v", time.Since(began))
	for i := range s.replicas { // either replica takes either one's token
		for j := range s.replicas {
			require.NoError(t, s.client(i, s.adminToken(j)).Do(t.Context(), http.MethodGet, subscriptionPath, nil, nil), fmt.Sprint(i, j))
		}
	}
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
}

// TestStoreAwayAndBack: while nobody reaches the records, requests are served,
// members live on, and who asks is told so soon. When they are back one replica
// leads, and wishes are fulfilled again.
func TestStoreAwayAndBack(t *testing.T) {
	s := newSeveral(t)
	s.replicas[1].subscribe(newSite(t, "x"), sized(2, 2))
	b := s.replicas[0]
	b.await("it runs", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 2 })
	require.Eventually(t, func() bool {
		code, _, err := b.get("/")
		return err == nil && code == http.StatusOK
	}, patience, 20*time.Millisecond, "the separate balancer serves")
	before, made := membersOf(b.view())
	stop := b.load(4, "/slow?s=0.05")

	s.server.Kill(0)
	for i := range s.replicas {
		err := s.client(i, s.adminToken(i)).Do(t.Context(), http.MethodGet, subscriptionPath, nil, nil)
		var answer *client.Error
		require.ErrorAs(t, err, &answer, "replica %d", i)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code, "replica %d: %v", i, err)
		require.ErrorContains(t, err, "store")
	}
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "what=leadership") }, patience, 20*time.Millisecond, "it leads no more")

	require.NoError(t, s.server.Restart(0))
	require.Eventually(t, func() bool {
		first, _ := s.leader(0)
		second, _ := s.leader(1)
		return first != "" && first == second
	}, patience, 50*time.Millisecond, "one leads, and both know who")
	require.NoError(t, s.replicas[1].Scale(t.Context(), tenant.Default, app, 3, 3))
	c := b.await("the leader launches", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	after, all := membersOf(c)
	require.Subset(t, after, before, "nobody was ended")
	require.Equal(t, made+1, all, "members ever made")
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
}
