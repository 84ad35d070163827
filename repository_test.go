package stratos_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/webhook"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// onMain follows the branch main by its name.
func onMain(s *tenant.Subscription) { s.Repository.Ref = "main" }

// state is what the API says of the app.
func (b *bed) state(admin *client.Client) (s struct {
	Subscription tenant.Subscription
	Repository   artifact.Repository
}) {
	b.t.Helper()
	require.NoError(b.t, admin.Do(b.ctx, http.MethodGet, "/v1/tenants/default/subscriptions/app", nil, &s))
	return s
}

// hook delivers a webhook, signed with a secret, and returns the answer's code.
func (b *bed) hook(path, secret, body string, header ...string) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://"+b.Config().API+path, strings.NewReader(body))
	require.NoError(b.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(webhook.SignatureHeader, webhook.Sign([]byte(body), secret))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(r)
	require.NoError(b.t, err)
	require.NoError(b.t, resp.Body.Close())
	return resp.StatusCode
}

// current waits until a revision, and no other, is served.
func (b *bed) current(revision, page string) {
	b.t.Helper()
	b.await(revision+" is current", func(c *topology.ClusterView) bool {
		return c.Cluster.Current != nil && c.Cluster.Current.Revision == revision && c.Cluster.Candidate == nil &&
			c.Count(topology.Active) == 1 && c.Members()[0].Serving.Release == *c.Cluster.Current
	})
	require.Equal(b.t, page, b.page("/"))
}

// switches is how many releases were rolled out.
func (b *bed) switches() int { return strings.Count(b.log.String(), `msg="release is current"`) }

// TestWebhook: one that is signed brings the commit, twice it does the same as
// once, and one that is not signed, or about another branch, does nothing.
func TestWebhook(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	b.subscribe(s, onMain)
	admin := adminOf(t, b.Config())
	hook, err := admin.Webhook(b.ctx, tenant.Default, app)
	require.NoError(t, err)
	require.Len(t, hook.Secret, 64)

	two := s.commit("two")
	const push = `{"ref":"refs/heads/main","repository":{"default_branch":"main"}}`
	require.Equal(t, http.StatusAccepted, b.hook(hook.Path, hook.Secret, push, webhook.EventHeader, "push"))
	require.Equal(t, http.StatusAccepted, b.hook(hook.Path, hook.Secret, push, webhook.EventHeader, "push"))
	b.current(two, "two")
	require.Equal(t, http.StatusAccepted, b.hook(hook.Path, hook.Secret, push, webhook.EventHeader, "push"))

	three := s.commit("three")
	before := b.state(admin).Subscription.Synchronised
	require.Equal(t, http.StatusForbidden, b.hook(hook.Path, "wrong", push, webhook.EventHeader, "push"))
	require.Equal(t, http.StatusForbidden, b.hook(hook.Path, hook.Secret, push, webhook.SignatureHeader, ""))
	require.Equal(t, http.StatusForbidden, b.hook("/v1/hooks/default/nothing", hook.Secret, push), "who cannot sign learns nothing")
	require.Equal(t, http.StatusBadRequest, b.hook(hook.Path, hook.Secret, "not JSON"))
	require.Equal(t, http.StatusOK, b.hook(hook.Path, hook.Secret, `{"ref":"refs/heads/other"}`))
	require.Equal(t, http.StatusOK, b.hook(hook.Path, hook.Secret, `{"zen":"x"}`, webhook.EventHeader, "ping"))
	require.Equal(t, before, b.state(admin).Subscription.Synchronised, "nobody was told to look")
	require.Equal(t, 2, b.switches())

	require.NoError(t, admin.RenewWebhook(b.ctx, tenant.Default, app))
	require.Equal(t, http.StatusForbidden, b.hook(hook.Path, hook.Secret, push))
	renewed, err := admin.Webhook(b.ctx, tenant.Default, app)
	require.NoError(t, err)
	require.Equal(t, hook.Path, renewed.Path)
	require.Equal(t, http.StatusAccepted, b.hook(hook.Path, renewed.Secret, url.Values{"payload": {push}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	b.current(three, "three")
	require.Equal(t, 3, b.switches())
	require.NotContains(t, b.log.String(), hook.Secret)
	require.NotContains(t, b.log.String(), renewed.Secret)
}

// TestPollBringsTheCommit: no webhook arrives.
func TestPollBringsTheCommit(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Poll = 100 * time.Millisecond })
	s := newSite(t, "one")
	b.subscribe(s)
	b.current(s.commit("two"), "two")
}

// TestRepositoryForgets: history is rewritten, the branch is deleted, the
// repository vanishes: what runs goes on, and what is kept can be gone back to.
func TestRepositoryForgets(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Poll = 100 * time.Millisecond })
	s := newSite(t, "one")
	first := s.git("rev-parse", "HEAD")
	b.subscribe(s, onMain)
	admin := adminOf(t, b.Config())
	stop := b.load(2, "/")

	s.git("checkout", "-q", "--orphan", "again")
	second := s.commit("rewritten")
	s.git("branch", "-M", "main")
	s.git("reflog", "expire", "--expire=now", "--all")
	s.git("gc", "-q", "--prune=now")
	b.current(second, "rewritten")

	s.git("branch", "-m", "main", "elsewhere")
	require.Eventually(t, func() bool { return b.state(admin).Repository.Problem == artifact.RefNotFound }, patience, 10*time.Millisecond)
	said := b.state(admin).Repository
	require.Contains(t, said.Error, "no such branch")
	require.Equal(t, second, said.Head)
	require.Equal(t, "rewritten", b.page("/"))

	// A commit that the repository does not have any more, exactly.
	require.NoError(t, admin.Switch(b.ctx, tenant.Default, app, first))
	b.current(first, "one")
	require.Empty(t, b.state(admin).Repository.Problem)

	// What is not there is refused, and nothing changes.
	var answer *client.Error
	require.ErrorAs(t, admin.Switch(b.ctx, tenant.Default, app, "main"), &answer)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
	require.Contains(t, answer.Text, "no such branch")
	require.ErrorIs(t, b.Switch(b.ctx, tenant.Default, app, strings.Repeat("a", 40)), api.ErrRepository)
	require.Equal(t, first, b.state(admin).Subscription.Repository.Ref)

	require.NoError(t, os.RemoveAll(s.dir))
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	require.NoError(t, admin.Switch(b.ctx, tenant.Default, app, second))
	b.current(second, "rewritten")
	sent, failures := stop()
	require.Empty(t, failures)
	require.Positive(t, sent)
	require.Equal(t, 4, b.switches())
}

// private serves a site's repository to who signs in with a password, which
// can be changed.
func private(t *testing.T, s *site, password *atomic.Value) (repository string) {
	t.Helper()
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"},
		Env: []string{"HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_HTTP_EXPORT_ALL=1", "GIT_PROJECT_ROOT=" + filepath.Dir(s.dir)}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, p, ok := r.BasicAuth(); !ok || user != "git" || p != password.Load() {
			w.Header().Set("WWW-Authenticate", "Basic realm=git")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(s.dir) + "/.git"
}

// TestPrivateRepository: without credentials, and with wrong ones, nothing runs
// and the state says why; the right ones are all that it takes. They are nowhere
// to be read.
func TestPrivateRepository(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	secret := rand.Text() // not in this program's file, which is the agent's, too
	var password atomic.Value
	password.Store(secret + "-first")
	repository := private(t, s, &password)
	admin := adminOf(t, b.Config())
	put := func(c artifact.Credentials) error { return admin.PutCredentials(b.ctx, tenant.Default, app, c) }
	refused := func() {
		t.Helper()
		require.Eventually(t, func() bool { return b.state(admin).Repository.Problem == artifact.RepoAuthFailed }, patience, 10*time.Millisecond)
	}
	var answer *client.Error
	require.ErrorAs(t, put(artifact.Credentials{Password: "x"}), &answer)
	require.Equal(t, http.StatusNotFound, answer.Code, "there is no such subscription")

	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, func(s *tenant.Subscription) { s.Repository.URL = repository })))
	refused()
	require.NoError(t, put(artifact.Credentials{Password: secret + "-wrong"}))
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	refused()
	v := b.view()
	require.Nil(t, v.Cluster.Current)
	require.Empty(t, v.Members())
	require.ErrorAs(t, put(artifact.Credentials{Key: secret + "-key"}), &answer)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
	require.Contains(t, answer.Text, "a key is for ssh URLs")
	require.ErrorAs(t, put(artifact.Credentials{}), &answer)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Code)

	require.NoError(t, put(artifact.Credentials{Password: secret + "-first"}))
	b.current(s.git("rev-parse", "HEAD"), "one")
	require.Empty(t, b.state(admin).Repository.Problem)

	// The password is changed at the host: what runs goes on, until it is told.
	password.Store(secret + "-second")
	two := s.commit("two")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	refused()
	require.Equal(t, "one", b.page("/"))
	require.NoError(t, put(artifact.Credentials{Password: secret + "-second"}))
	b.current(two, "two")

	require.NotContains(t, b.log.String(), secret)
	requireNoSecret(t, b.Config().Dir, secret)
	for pid := range processesOf(t, b.Config().Dir) {
		for _, name := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
			if err == nil { // else it has ended
				require.False(t, bytes.Contains(text, []byte(secret)))
			}
		}
	}
	require.NoError(t, admin.RemoveCredentials(b.ctx, tenant.Default, app))
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	refused()
	require.Equal(t, "two", b.page("/"))

	// The next subscription of that name does not inherit any.
	require.NoError(t, put(artifact.Credentials{Password: secret + "-second"}))
	require.NoError(t, b.Unsubscribe(b.ctx, tenant.Default, app))
	require.Eventually(t, func() bool {
		return b.Subscribe(b.ctx, subscriptionOf(s, func(s *tenant.Subscription) { s.Repository.URL = repository })) == nil
	}, patience, 10*time.Millisecond)
	refused()
}

// requireNoSecret looks for a secret in all files of a data folder.
func requireNoSecret(t *testing.T, dir, secret string) {
	t.Helper()
	seen := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // a temporary file
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		require.False(t, bytes.Contains(text, []byte(secret)), path)
		seen++
		return err
	}))
	require.Greater(t, seen, 10)
}

// TestSynchroniseAnswers with the commit that each member serves, or with why
// it is not the head.
func TestSynchroniseAnswers(t *testing.T) {
	b := newBed(t)
	s := newSite(t, "one")
	b.subscribe(s, onMain, sized(2, 2))
	admin := adminOf(t, b.Config())
	synchronise := func(wait time.Duration) client.Synchronised {
		t.Helper()
		got, err := admin.Synchronise(b.ctx, tenant.Default, app, wait)
		require.NoError(t, err)
		return got
	}
	two := s.commit("two")
	got := synchronise(time.Minute)
	require.True(t, got.Settled, "%+v", got)
	require.Equal(t, two, got.Head)
	require.Len(t, got.Members, 2)
	for _, m := range got.Members {
		require.Equal(t, two, m.Revision)
		require.Equal(t, topology.Active, m.State)
	}
	slow := s.commitFile("app.py", "import time\ntime.sleep(1000)\n")
	got = synchronise(time.Second)
	require.False(t, got.Settled)
	require.Equal(t, slow, got.Head)
	bad := s.commitFile("app.py", "exit(1)\n")
	got = synchronise(time.Minute)
	require.Equal(t, bad, got.Head)
	require.NotEmpty(t, got.Refused)
	require.True(t, got.Settled)
	for _, m := range got.Members {
		require.Equal(t, two, m.Revision)
	}
	s.git("checkout", "-q", "--detach")
	s.git("branch", "-D", "main")
	got = synchronise(time.Minute)
	require.Equal(t, artifact.RefNotFound, got.Problem)
	require.False(t, got.Settled)

	var answer *client.Error
	_, err := admin.Synchronise(b.ctx, tenant.Default, "nobody", time.Second)
	require.ErrorAs(t, err, &answer)
	require.Equal(t, http.StatusNotFound, answer.Code)
	_, err = admin.Synchronise(b.ctx, tenant.Default, app, -time.Second)
	require.ErrorAs(t, err, &answer)
	require.Equal(t, http.StatusBadRequest, answer.Code)
}
