package stratos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/api"
	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/tomcat"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

const staticPages = `
name: pages
description: the pages of a folder, as they are
settings:
  index: {description: the folder's first page, default: index.html, pattern: "[a-z.]+"}
plan:
  programs: [{names: [python3], package: python3}]
  ports: [{name: http}]
  processes:
  - name: web
    args: [python3, -m, http.server, --bind, 127.0.0.1, --directory, "{{.Release}}", '{{port "http"}}']
    env: {INDEX: '{{setting "index"}}'}
  health: {path: '/'}
`

func definition(t *testing.T, text string) cartridge.Definition {
	t.Helper()
	d, err := cartridge.DecodeDefinition([]byte(text))
	require.NoError(t, err)
	return d
}

// adminOf is a client with the administrator's token.
func adminOf(t testing.TB, cfg stratos.Config) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(cfg.Dir, "admin.token"))
	require.NoError(t, err)
	c := &client.Client{URLs: []string{"http://" + cfg.API}, Token: strings.TrimSpace(string(token)), HTTP: &http.Client{}}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}

func names(all []client.Cartridge) (names []string) {
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

// TestDefinitionAtRunTime: a cartridge that is only data is refused with line
// and field, subscribed to at once, replaced, and not withdrawn while in use.
func TestDefinitionAtRunTime(t *testing.T) {
	b := newBed(t)
	admin := adminOf(t, b.Config())
	err := admin.Do(b.ctx, http.MethodPut, "/v1/cartridges/pages", map[string]any{"name": "pages", "plan": map[string]any{"colour": "red"}}, nil)
	require.ErrorContains(t, err, "plan.colour")
	require.ErrorContains(t, err, "line 1, column")
	text, err := definition(t, staticPages).Encode()
	require.NoError(t, err)
	err = admin.Do(b.ctx, http.MethodPut, "/v1/cartridges/other", json.RawMessage(text), nil)
	require.ErrorContains(t, err, `the path's is "other"`)
	taken := definition(t, staticPages)
	taken.Name = "php"
	require.ErrorContains(t, admin.PutCartridge(b.ctx, "", taken), "choose another")

	s := newSite(t, "x")
	s.commitFile("index.html", "as it is")
	subscription := subscriptionOf(s, func(s *tenant.Subscription) { s.Cartridge = "pages" })
	require.ErrorContains(t, b.Subscribe(b.ctx, subscription), `unknown cartridge "pages": this flavour has php, proc`)
	require.NoError(t, admin.PutCartridge(b.ctx, "", definition(t, staticPages)))
	b.subscribe(s, func(s *tenant.Subscription) { s.Cartridge = "pages" })
	require.Equal(t, "as it is", b.page("/"))

	changed := definition(t, staticPages)
	changed.Version = "2"
	require.NoError(t, admin.PutCartridge(b.ctx, "", changed))
	all, err := admin.Cartridges(b.ctx, "")
	require.NoError(t, err)
	require.Equal(t, []string{"pages", "php", "proc"}, names(all))
	require.Equal(t, "2", all[0].Version)
	require.Contains(t, all[0].Settings, "index")
	require.True(t, all[1].BuiltIn)
	s.commitFile("index.html", "and again")
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	require.Eventually(t, func() bool { return b.page("/") == "and again" }, patience, 10*time.Millisecond)

	var answer *client.Error
	require.ErrorAs(t, admin.WithdrawCartridge(b.ctx, "", "pages"), &answer)
	require.Equal(t, http.StatusConflict, answer.Code)
	require.ErrorContains(t, answer, "subscription app of tenant default")
	require.ErrorAs(t, admin.WithdrawCartridge(b.ctx, "", "php"), &answer)
	require.Equal(t, http.StatusConflict, answer.Code)
	require.NoError(t, b.Unsubscribe(b.ctx, tenant.Default, app))
	require.NoError(t, admin.WithdrawCartridge(b.ctx, "", "pages"))
	require.ErrorAs(t, admin.WithdrawCartridge(b.ctx, "", "pages"), &answer)
	require.Equal(t, http.StatusNotFound, answer.Code)
}

// still makes a platform that does not run, with tenants a and b.
func still(t *testing.T) *stratos.Platform {
	t.Helper()
	s := mem.New()
	cfg := testConfig(t, t.TempDir())
	cfg.Store = s
	p, err := stratos.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.NoError(t, s.Close())
	})
	for _, id := range []tenant.ID{"a", "b"} {
		op, err := store.NewRecord(tenant.Key(id), tenant.Tenant{V: tenant.Schema, ID: id}).Put()
		require.NoError(t, err)
		_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{op}})
		require.NoError(t, err)
	}
	return p
}

func TestPrivateCartridge(t *testing.T) {
	p := still(t)
	d := definition(t, staticPages)
	created, err := p.PutCartridge(t.Context(), "a", d)
	require.NoError(t, err)
	require.True(t, created)
	_, err = p.PutCartridge(t.Context(), "nobody", d)
	require.ErrorIs(t, err, store.ErrNotFound)
	sees := func(id tenant.ID) []string {
		all, err := p.Cartridges(t.Context(), id)
		require.NoError(t, err)
		var names []string
		for _, c := range all {
			names = append(names, c.Name+" "+string(c.Tenant))
		}
		return names
	}
	require.Equal(t, []string{"pages a", "php ", "proc "}, sees("a"))
	require.Equal(t, []string{"php ", "proc "}, sees("b"))
	require.Equal(t, []string{"php ", "proc "}, sees(""))
	of := func(id tenant.ID) error {
		return p.Subscribe(t.Context(), subscriptionOf(newSite(t, "x"), func(s *tenant.Subscription) { s.Tenant, s.Cartridge = id, "pages" }))
	}
	require.ErrorContains(t, of("b"), "unknown cartridge")
	require.NotContains(t, of("b").Error(), "has pages")
	require.ErrorIs(t, p.WithdrawCartridge(t.Context(), "b", "pages"), store.ErrNotFound)
	require.ErrorIs(t, p.WithdrawCartridge(t.Context(), "", "pages"), store.ErrNotFound)
	require.NoError(t, of("a"))
	require.ErrorIs(t, p.WithdrawCartridge(t.Context(), "a", "pages"), api.ErrInUse)

	// One of that name for everyone is another one.
	d.Description = "for all"
	_, err = p.PutCartridge(t.Context(), "", d)
	require.NoError(t, err)
	require.Equal(t, []string{"pages a", "php ", "proc "}, sees("a"))
	require.Equal(t, []string{"pages ", "php ", "proc "}, sees("b"))
	require.NoError(t, p.WithdrawCartridge(t.Context(), "", "pages"), "tenant a uses its own")
	require.ErrorIs(t, p.WithdrawCartridge(t.Context(), "a", "pages"), api.ErrInUse)
}

// TestWithdrawnWhileSubscribed: of a withdrawal and a subscription at the same
// time one comes first, and the other knows it.
func TestWithdrawnWhileSubscribed(t *testing.T) {
	p := still(t)
	s := newSite(t, "x")
	for i := range 40 {
		_, err := p.PutCartridge(t.Context(), "", definition(t, staticPages))
		require.NoError(t, err)
		var subscribed, withdrawn error
		var both sync.WaitGroup
		alias := fmt.Sprint("app-", i)
		both.Go(func() {
			subscribed = p.Subscribe(context.Background(), subscriptionOf(s, func(s *tenant.Subscription) { s.Alias, s.Cartridge = alias, "pages" }))
		})
		both.Go(func() { withdrawn = p.WithdrawCartridge(context.Background(), "", "pages") })
		both.Wait()
		switch {
		case subscribed == nil:
			require.ErrorIs(t, withdrawn, api.ErrInUse)
			require.NoError(t, p.Unsubscribe(t.Context(), tenant.Default, alias))
			require.NoError(t, p.WithdrawCartridge(t.Context(), "", "pages"))
		default:
			require.ErrorContains(t, subscribed, "unknown cartridge")
			require.False(t, errors.Is(withdrawn, api.ErrInUse), "%v", withdrawn)
			require.NoError(t, withdrawn)
		}
	}
}

// TestOneRepositoryFeedsTwo: the WAR is for a tomcat, the rest of what runs for
// another, and neither has the other's files.
func TestOneRepositoryFeedsTwo(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) { c.Cartridges = append(c.Cartridges, tomcat.Type{}) })
	s := newSite(t, "from the worker")
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "work"), 0o755))
	s.git("mv", "app.py", "Procfile", "work")
	s.write("webapps/ROOT/index.jsp", `from <%= "tomcat" %>`)
	s.write("webapps/ROOT/WEB-INF/web.xml", "<web-app/>\n")
	s.write("stratos.yaml", "parts:\n- {folder: webapps, cartridge: tomcat}\n- {folder: work, subscription: app}\n")
	s.commitAll()
	b.subscribe(s)
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: "web", Cartridge: "tomcat", Repository: tenant.Repository{URL: artifact.Dir(s.dir)}}))
	require.Equal(t, "from the worker", b.page("/"))
	b.awaitOf("default.web", "tomcat serves", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 })
	code, body, err := b.getFrom("web.localhost", "/")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "from tomcat", strings.TrimSpace(body))
	for _, dir := range []string{"work", "webapps"} { // of a release: what is above it is the agent's
		found, err := filepath.Glob(filepath.Join(b.Config().Dir, "accounts/here/instances/default-*/agent/releases/*", dir))
		require.NoError(t, err)
		require.Empty(t, found)
	}

	// A file that says nothing about one of them keeps what runs.
	s.write("stratos.yaml", "parts:\n- {folder: webapps, cartridge: tomcat}\n- {folder: nowhere, subscription: app}\n")
	s.commitAll()
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("it is refused with its line", func(c *topology.ClusterView) bool {
		return c.Cluster.Refused != nil && strings.Contains(c.Cluster.Refused.Reason, `stratos.yaml: line 3, column 4: parts[1]: folder "nowhere"`)
	})
	require.Equal(t, "from the worker", b.page("/"))
}
