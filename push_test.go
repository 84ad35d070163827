package stratos_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// hosted subscribes app without a repository: one is kept here.
func (b *bed) hosted(change ...func(*tenant.Subscription)) client.HostedRepository {
	b.t.Helper()
	sub := tenant.Subscription{Alias: app, Cartridge: "proc"}
	for _, f := range change {
		f(&sub)
	}
	require.NoError(b.t, b.Subscribe(b.ctx, sub))
	repo, err := adminOf(b.t, b.Config()).HostedRepository(b.ctx, tenant.Default, app)
	require.NoError(b.t, err)
	return repo
}

// remote makes a repository of the platform the site's remote.
func (s *site) remote(b *bed, repo client.HostedRepository) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.ask(), []byte("#!/bin/sh\ncat \"$0.password\"\n"), 0o700))
	require.NoError(s.t, os.WriteFile(s.ask()+".password", []byte(repo.Password), 0o600))
	s.git("remote", "add", "stratos", "http://"+repo.User+"@"+b.Config().API+repo.Path)
}

// push pushes, and returns what git said and whether it succeeded.
func (s *site) push(args ...string) (string, error) {
	return s.pushing(context.Background(), args...)
}

func (s *site) pushing(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"push", "--porcelain", "stratos"}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = s.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // git has helpers
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *site) mustPush(args ...string) string {
	s.t.Helper()
	out, err := s.push(args...)
	require.NoError(s.t, err, out)
	return out
}

// TestPush: what is pushed is served when the push returns; one that does not
// come up is refused, with what its program printed, and nothing has changed.
func TestPush(t *testing.T) {
	b := newBed(t)
	repo := b.hosted()
	require.Eventually(t, func() bool {
		return b.state(adminOf(t, b.Config())).Repository.Problem == artifact.RepoEmpty
	}, patience, 10*time.Millisecond)
	s := newSite(t, "one")
	s.remote(b, repo)
	one := s.git("rev-parse", "HEAD")
	out := s.mustPush("main")
	require.Contains(t, out, "making a release of "+one)
	require.Contains(t, out, "app serves it: app.localhost")
	b.current(one, "one")

	stop := b.load(4, "/")
	two := s.commit("two")
	s.mustPush("main")
	b.current(two, "two")

	s.commitFile("app.py", "import sys\nsys.exit('no word to greet with')\n")
	out, err := s.push("main")
	require.Error(t, err, out)
	require.Contains(t, out, "no word to greet with")
	require.Contains(t, out, "[remote rejected]")
	sent, failures := stop()
	require.Empty(t, failures, "of %d", sent)
	require.Equal(t, two, strings.Fields(s.git("ls-remote", "stratos", "refs/heads/main"))[0])
	b.current(two, "two")
	require.Empty(t, b.state(adminOf(t, b.Config())).Repository.Error)

	out, err = s.push("main") // the same one again
	require.Error(t, err, out)
	require.Contains(t, out, "this commit was tried before")

	three := s.commit("three")
	s.mustPush("main")
	b.current(three, "three")
}

// TestPushOfWhatIsNotServed: other branches and tags are kept, and nothing
// runs; what is served cannot be deleted; what is rewritten is served.
func TestPushOfWhatIsNotServed(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	s.remote(b, b.hosted())
	one := s.git("rev-parse", "HEAD")
	s.mustPush("main")
	b.current(one, "one")
	switches := b.switches()

	s.git("checkout", "-q", "-b", "next")
	next := s.commit("next")
	s.git("tag", "-a", "-m", "first", "v1", one)
	s.mustPush("next", "v1")
	require.Contains(t, s.git("ls-remote", "stratos"), next+"\trefs/heads/next")
	out, err := s.push(":main")
	require.Error(t, err, out)
	require.Contains(t, out, "cannot be deleted")
	out, err = s.push("main:refs/notes/commits")
	require.Error(t, err, out)
	require.Contains(t, out, "not a branch or tag")
	require.Equal(t, switches, b.switches())
	b.current(one, "one")

	admin := adminOf(t, b.Config())
	require.NoError(t, admin.Switch(b.ctx, tenant.Default, app, "next"))
	b.current(next, "next")
	require.NoError(t, admin.Switch(b.ctx, tenant.Default, app, "v1"))
	b.current(one, "one")
	s.mustPush(":main") // nobody needs it now
	require.NoError(t, admin.Switch(b.ctx, tenant.Default, app, "next"))
	b.current(next, "next")

	s.git("checkout", "-q", "--orphan", "other")
	other := s.commit("other")
	out, err = s.push("other:next")
	require.Error(t, err, out) // git itself says no
	s.mustPush("--force", "other:next")
	b.current(other, "other")

	clone := filepath.Join(t.TempDir(), "clone")
	s.git("clone", "-q", "-b", "next", s.git("remote", "get-url", "stratos"), clone)
	require.Equal(t, other, (&site{t, clone}).git("rev-parse", "HEAD"))
}

// TestWhoMayPush: who has the password, and it can be renewed; an administrator.
func TestWhoMayPush(t *testing.T) {
	b := newBed(t)
	repo := b.hosted()
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: "other", Cartridge: "proc"}))
	admin := adminOf(t, b.Config())
	other, err := admin.HostedRepository(b.ctx, tenant.Default, "other")
	require.NoError(t, err)
	s := newSite(t, "one")
	s.remote(b, repo)
	password := func(p string) {
		require.NoError(t, os.WriteFile(s.ask()+".password", []byte(p), 0o600))
	}
	for _, wrong := range []string{other.Password, "", "x", repo.Password + "0"} {
		password(wrong)
		out, err := s.push("main")
		require.Error(t, err, out)
		require.Contains(t, out, "Authentication failed")
	}
	for _, path := range []string{repo.Path, "/git/default/nobody.git", "/git/nobody/app.git"} {
		resp, err := b.client.Get("http://" + b.Config().API + path + "/info/refs?service=git-receive-pack")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, path)
		require.Contains(t, resp.Header.Get("WWW-Authenticate"), "Basic")
	}
	password(repo.Password)
	s.mustPush("main:kept")
	require.NoError(t, admin.RenewPushSecret(b.ctx, tenant.Default, app))
	out, err := s.push("main:late")
	require.Error(t, err, out)
	renewed, err := admin.HostedRepository(b.ctx, tenant.Default, app)
	require.NoError(t, err)
	require.NotEqual(t, repo.Password, renewed.Password)
	password(renewed.Password)
	s.mustPush("main:late")
	token, err := os.ReadFile(filepath.Join(b.Config().Dir, "admin.token"))
	require.NoError(t, err)
	password(strings.TrimSpace(string(token)))
	s.mustPush("main:admin")
	for _, secret := range []string{repo.Password, renewed.Password} {
		require.NotContains(t, b.log.String(), secret)
	}
	b.stop()
	requireNowhere(t, b.Config().Dir, renewed.Password)
}

// requireNowhere fails if a file below dir holds a secret.
func requireNowhere(t *testing.T, dir, secret string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		require.False(t, bytes.Contains(text, []byte(secret)), path)
		return err
	}))
}

// TestTwoPushesAtOnce are served one after the other.
func TestTwoPushesAtOnce(t *testing.T) {
	b := newBed(t)
	repo := b.hosted()
	s := newSite(t, "zero")
	s.remote(b, repo)
	s.mustPush("main")
	one := s.commit("one")
	two := s.commit("two")
	var all sync.WaitGroup
	outs, errs := make([]string, 2), make([]error, 2)
	first := make(chan struct{})
	all.Go(func() {
		close(first)
		outs[0], errs[0] = s.push(one + ":refs/heads/main")
	})
	<-first
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), one) }, patience, time.Millisecond)
	all.Go(func() { outs[1], errs[1] = s.push(two + ":refs/heads/main") })
	all.Wait()
	require.NoError(t, errs[0], outs[0])
	require.NoError(t, errs[1], outs[1])
	b.current(two, "two")
	require.Contains(t, b.log.String(), `msg="release is current" cluster=default.app release=`+one)
}

// TestPushAsleep: with no member, a pushed release is tried on one of its own.
func TestPushAsleep(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) {
		c.Policies = map[string]autoscale.Policy{"": autoscale.InFlight{PerMember: 10, IdleAfter: 2 * time.Second}}
	})
	s := newSite(t, "one")
	s.remote(b, b.hosted(sized(0, 2)))
	s.mustPush("main")
	asleep := func() {
		t.Helper()
		b.await("it fell asleep", func(c *topology.ClusterView) bool { return c.Supply() == 0 && c.Cluster.Candidate == nil })
	}
	asleep()
	s.commitFile("app.py", "import sys\nsys.exit('a bad dream')\n")
	out, err := s.push("main")
	require.Error(t, err, out)
	require.Contains(t, out, "a bad dream")
	asleep()
	s.mustPush("--force", s.commit("two")+":main")
	asleep()
	require.Equal(t, "two", b.page("/"), "the first request wakes it")
}

// TestPushIsKept: a push that was acknowledged outlives the folder it was
// received in, and one whose pusher went away did not happen.
func TestPushIsKept(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	repo := b.hosted()
	s.remote(b, repo)
	s.mustPush("main")
	for i := range 25 { // more packs than are kept apart
		s.commitFile("n.txt", fmt.Sprint(i))
		s.mustPush("main:side")
	}
	side := s.git("rev-parse", "HEAD")
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "packs of a repository are one now") }, patience, 10*time.Millisecond)

	s.commitFile("app.py", "import time\ntime.sleep(1000)\n") // it never answers
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := s.pushing(ctx, "main")
		done <- err
	}()
	b.await("it is tried", func(c *topology.ClusterView) bool { return c.Cluster.Candidate != nil })
	cancel()
	require.Error(t, <-done)
	b.await("it is not wanted any more", func(c *topology.ClusterView) bool { return c.Cluster.Candidate == nil })

	cfg := b.Config()
	b.stop()
	require.NoError(t, b.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(cfg.Dir, "artifacts")))
	cfg.Balancer = nil
	b.start(cfg)
	require.Equal(t, side, strings.Fields(s.git("ls-remote", "stratos", "refs/heads/side"))[0])
	s.git("fetch", "-q", "stratos")
	two := s.commit("two")
	s.mustPush("--force", "main")
	b.current(two, "two")
}

// TestLargePush: what does not fit into one buffer of git's, and into many.
func TestLargePush(t *testing.T) {
	for _, size := range []int{15 << 20, 200 << 20} {
		t.Run(fmt.Sprint(size>>20, " MB"), func(t *testing.T) {
			b := newBed(t)
			s := newSite(t, "large")
			s.remote(b, b.hosted())
			s.fill("data", size)
			revision := s.commitAll()
			s.mustPush("main")
			b.current(revision, "large")
		})
	}
}

// TestPushToAFollower: it passes the push on; when the leader is gone, it
// leads, and has all that was pushed.
func TestPushToAFollower(t *testing.T) {
	several := newSeveral(t)
	b := several.replicas[1]
	repo, s := b.hosted(), newSite(t, "one")
	s.remote(b, repo)
	one := s.git("rev-parse", "HEAD")
	require.Contains(t, s.mustPush("main"), "app serves it")
	b.await("it is current", func(c *topology.ClusterView) bool {
		return c.Cluster.Current != nil && c.Cluster.Current.Revision == one
	})
	s.fill("data", 4<<20) // longer than git's buffer: it is sent while it is answered
	s.commitFile("app.py", "import sys\nsys.exit('no word to greet with')\n")
	out, err := s.push("main")
	require.Error(t, err, out)
	require.Contains(t, out, "no word to greet with")

	several.replicas[0].stop()
	several.awaitOnly(1)
	require.Equal(t, one, strings.Fields(s.git("ls-remote", "stratos", "refs/heads/main"))[0])
	two := s.commit("two")
	s.mustPush("main")
	require.Equal(t, two, b.view().Cluster.Current.Revision)
}

// TestNoGitProgram: without one no repository is kept here, and that is said
// before anything is recorded.
func TestNoGitProgram(t *testing.T) {
	b := newBed(t)
	t.Setenv("PATH", t.TempDir())
	err := b.Subscribe(b.ctx, tenant.Subscription{Alias: app, Cartridge: "proc"})
	require.ErrorIs(t, err, artifact.ErrNoGit)
	require.ErrorContains(t, err, "apt-get install git")
	_, err = b.PushSecret(b.ctx, tenant.Default, app)
	require.ErrorIs(t, err, tenant.ErrNotFound)
}
