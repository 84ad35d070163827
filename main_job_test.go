package stratos_test

import (
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

func TestSubscribedAppServes(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "hello")
	b.subscribe(s)
	require.Equal(t, "hello", b.page("/"))
	c := b.view()
	require.Equal(t, s.git("rev-parse", "HEAD"), c.Cluster.Current.Revision)

	require.NoError(t, b.Unsubscribe(b.ctx, tenant.Default, app))
	require.Eventually(t, func() bool {
		code, _, err := b.get("/")
		return err == nil && code == http.StatusNotFound
	}, patience, 10*time.Millisecond, "its routes go")
	require.Eventually(t, func() bool { return len(processesOf(t, b.Config().Dir)) == 0 }, patience, 10*time.Millisecond, "its members end")
	require.Eventually(t, func() bool {
		v, err := b.Topology().Next(b.ctx, 0)
		return err == nil && (v.Cluster(cluster) == nil || !v.Cluster(cluster).Known)
	}, patience, 10*time.Millisecond, "its cluster goes")
	b.subscribe(newSite(t, "again"))
	require.Equal(t, "again", b.page("/"), "the alias is free again")
}

func TestCommitSwitchesWithoutAFailedRequest(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	b.subscribe(s, sized(2, 2))
	stop := b.load(8, "/")
	for _, word := range []string{"two", "three"} {
		revision := s.commit(word)
		require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
		b.await("both members serve "+word, func(c *topology.ClusterView) bool {
			for _, m := range c.Members() {
				if m.State != topology.Active || m.Serving.Release.Revision != revision || len(m.Retiring) > 0 {
					return false
				}
			}
			return c.Cluster.Current.Revision == revision
		})
		require.Equal(t, word, b.page("/"))
	}
	sent, failures := stop()
	require.Empty(t, failures)
	require.Greater(t, sent, 100)
	require.Len(t, b.view().Members(), 2, "the instances stayed")
}

func TestCommitThatCrashesIsNeverServed(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "good")
	b.subscribe(s, sized(1, 3))
	good := b.view().Cluster.Current.Revision
	stop := b.load(4, "/")
	bad := s.commitFile("app.py", "raise SystemExit('the database is missing')\n")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	c := b.await("it is refused", func(c *topology.ClusterView) bool { return c.Cluster.Refused != nil && c.Cluster.Candidate == nil })
	require.Equal(t, bad, c.Cluster.Refused.Release.Revision)
	require.Contains(t, c.Cluster.Refused.Log, "the database is missing", "the reason is readable")
	require.Equal(t, good, c.Cluster.Current.Revision)

	require.NoError(t, b.Scale(b.ctx, tenant.Default, app, 3, 3))
	c = b.await("more members", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 3 })
	for _, m := range c.Members() {
		require.Equal(t, good, m.Serving.Release.Revision, "launches get the good release")
	}
	_, failures := stop()
	require.Empty(t, failures)
	require.Equal(t, "good", b.page("/"))

	mended := s.commit("mended")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("the mended one is current", func(c *topology.ClusterView) bool {
		return c.Cluster.Current.Revision == mended && c.Cluster.Refused == nil
	})
}

func TestFirstCommitThatCrashesSaysWhy(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "x")
	s.commitFile("app.py", "import nothing_like_this\n")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s)))
	c := b.await("it is refused", func(c *topology.ClusterView) bool { return c.Cluster.Refused != nil })
	require.Contains(t, c.Cluster.Refused.Log, "nothing_like_this")
	require.Nil(t, c.Cluster.Current)
	b.await("nobody is left", func(c *topology.ClusterView) bool { return c.Supply() == 0 })
	code, _, err := b.get("/")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, code)
	s.commit("mended")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("the mended one serves", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 })
	require.Equal(t, "mended", b.page("/"))
}

func TestFedSamplesScaleFromOneToFour(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Interval = time.Second })
	b.subscribe(newSite(t, "x"), sized(1, 4))
	b.feed(28, func() bool { return b.view().Want != nil && b.view().Want.Size == 4 })
	c := b.await("four members", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 4 })
	require.Len(t, c.Members(), 4)
	for _, d := range b.Decisions(cluster) {
		if d.Want != d.Before {
			require.Equal(t, [2]int{1, 4}, [2]int{d.Before, d.Want}, "in one decision")
			break
		}
	}
}

func TestLoadScalesUpAndSlowlyDown(t *testing.T) {
	b := newBed(t)
	boots := func(s *tenant.Subscription) { s.Env = map[string]string{"BOOT": "2"} } // four scaling intervals
	b.subscribe(newSite(t, "x"), sized(1, 4), boots)
	stop := b.load(27, "/slow?s=0.2")
	b.await("four members", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 4 })
	require.Len(t, b.view().Members(), 4, "exactly three launches")
	_, failures := stop()
	require.Empty(t, failures)

	lowest := 4
	b.await("one member is left", func(c *topology.ClusterView) bool {
		supply, draining := c.Supply(), c.Count(topology.InMaintenance, topology.ReadyToShutDown)
		require.LessOrEqual(t, draining, 1, "one at a time")
		require.GreaterOrEqual(t, supply, 1, "never below the minimum")
		lowest = min(lowest, supply)
		return c.Count(topology.Terminated) == 3
	})
	require.Equal(t, 1, lowest)
	require.Len(t, b.view().Members(), 4)
	want := 4
	for _, d := range b.Decisions(cluster) {
		if d.Want < d.Before {
			require.Equal(t, want-1, d.Want, "one member less at a time")
			want = d.Want
		}
	}
	require.Equal(t, 1, want)
}

func TestSmallerMaximumDrainsTheSurplus(t *testing.T) {
	b := newBed(t)
	b.subscribe(newSite(t, "x"), sized(3, 3))
	stop := b.load(6, "/slow?s=0.05")
	require.NoError(t, b.Scale(b.ctx, tenant.Default, app, 1, 1))
	b.await("the surplus is gone", func(c *topology.ClusterView) bool {
		return c.Count(topology.Active) == 1 && c.Count(topology.Terminated) == 2
	})
	_, failures := stop()
	require.Empty(t, failures)
	require.ErrorIs(t, b.Scale(b.ctx, tenant.Default, app, 3, 1), tenant.ErrInvalid)
}

func TestScaleToZeroAndBack(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) {
		c.Policies = map[string]autoscale.Policy{"": autoscale.InFlight{PerMember: 10, IdleAfter: 2 * time.Second}}
	})
	s := newSite(t, "awake")
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, sized(0, 2))))
	b.await("it came up once", func(c *topology.ClusterView) bool { return c.Cluster.Current != nil })
	b.await("it fell asleep", func(c *topology.ClusterView) bool { return c.Supply() == 0 && c.Count(topology.Terminated) >= 1 })
	require.Equal(t, "awake", b.page("/"), "the first request is held and wakes it")
}

func TestKilledRuntimeIsRestartedInPlace(t *testing.T) {
	b := newBed(t)
	b.subscribe(newSite(t, "x"), sized(2, 2))
	before := b.view()
	pid, err := strconv.Atoi(b.page("/pid"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	for range 50 {
		require.Equal(t, "x", b.page("/"), "requests go to the other")
	}
	after := b.await("it was restarted", func(c *topology.ClusterView) bool {
		restarts := 0
		for _, m := range c.Members() {
			restarts += m.Restarts
		}
		return restarts == 1 && c.Count(topology.Active) == 2
	})
	require.Len(t, after.Members(), 2)
	for i, m := range after.Members() {
		require.Equal(t, before.Members()[i].ID, m.ID, "in place")
	}
}

func TestKilledAgentsMemberIsReplaced(t *testing.T) {
	b := newBed(t)
	b.subscribe(newSite(t, "x"), sized(2, 2))
	victim := b.view().Members()[0].Member
	pid, err := agentPid(t, b.Config().Dir, victim)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	for range 50 {
		require.Equal(t, "x", b.page("/"), "requests go to the other")
	}
	c := b.await("the member is replaced", func(c *topology.ClusterView) bool {
		m, _ := c.Member(victim.ID)
		return m.State == topology.Terminated && c.Count(topology.Active) == 2
	})
	require.Len(t, c.Members(), 3)
	m, _ := c.Member(victim.ID)
	require.Equal(t, "its instance is gone", m.Reason)
}

func TestDownloadSurvivesTheEndOfItsMember(t *testing.T) {
	b := newBed(t)
	b.subscribe(newSite(t, "x"), sized(2, 2))
	type result struct {
		code int
		body string
		err  error
	}
	done := make(chan result, 2)
	for range 2 { // one for each member
		go func() {
			code, body, err := b.get("/download?s=10")
			done <- result{code, body, err}
		}()
	}
	require.NoError(t, b.Scale(b.ctx, tenant.Default, app, 1, 1))
	b.await("one drains", func(c *topology.ClusterView) bool { return c.Count(topology.InMaintenance) == 1 })
	for range 2 {
		r := <-done
		require.NoError(t, r.err)
		require.Equal(t, http.StatusOK, r.code)
		require.Equal(t, strings.Repeat("x", 100_000), r.body)
	}
	b.await("the drained one ends", func(c *topology.ClusterView) bool { return c.Count(topology.Terminated) == 1 })
}

func TestRestartAdoptsTheMembers(t *testing.T) {
	b := newBed(t)
	b.subscribe(newSite(t, "x"), sized(2, 2))
	before := processesOf(t, b.Config().Dir)
	b.stop()
	require.NoError(t, b.Close())
	require.Equal(t, before, processesOf(t, b.Config().Dir), "members outlive the control plane")
	cfg := b.Config()
	cfg.Balancer, cfg.Accounts = nil, testConfig(t, "").Accounts
	b.start(cfg)
	b.await("they are there", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 2 })
	require.Eventually(t, func() bool {
		code, body, err := b.get("/")
		return err == nil && code == http.StatusOK && body == "x"
	}, patience, 10*time.Millisecond)
	require.Equal(t, before, processesOf(t, b.Config().Dir))
	require.Len(t, b.view().Members(), 2)
}

func TestMappedDomainServesUntilItIsUnmapped(t *testing.T) {
	records := mem.New()
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	b := newBed(t, func(c *stratos.Config) { c.Store = records })
	b.subscribe(newSite(t, "mapped"))
	status := func() int {
		req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, "http://"+b.Config().Listen+"/", nil)
		require.NoError(t, err)
		req.Host = "www.example.org"
		resp, err := b.client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, http.StatusNotFound, status())
	rec := store.NewRecord(tenant.DomainKey("www.example.org"), tenant.Domain{Host: "www.example.org", Tenant: tenant.Default, Alias: app})
	op, err := rec.Put()
	require.NoError(t, err)
	_, err = records.Commit(b.ctx, store.Txn{Then: []store.Op{op}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return status() == http.StatusOK }, patience, 10*time.Millisecond)
	_, err = records.Commit(b.ctx, store.Txn{Then: []store.Op{{Key: rec.Key, Delete: true}}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return status() == http.StatusNotFound }, patience, 10*time.Millisecond)
	require.Equal(t, "mapped", b.page("/"))
}
