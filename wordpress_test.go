package stratos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// visitor is somebody with a browser: cookies are kept, redirects are not followed.
type visitor struct {
	b       *bed
	cookies map[string]string
}

// ask sends a request for the blog to an address: the balancer's, or a member's.
func (v *visitor) ask(method, address, path string, body io.Reader, header ...string) (*http.Response, string) {
	v.b.t.Helper()
	r, err := http.NewRequestWithContext(v.b.ctx, method, "http://"+address+path, body)
	require.NoError(v.b.t, err)
	r.Host = "app.localhost"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	c := *v.b.client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	require.NoError(v.b.t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.b.t, err)
	require.NoError(v.b.t, resp.Body.Close())
	for _, k := range resp.Cookies() {
		v.cookies[k.Name] = k.Value
	}
	return resp, string(text)
}

// send fills in a form.
func (v *visitor) send(path string, form url.Values) (*http.Response, string) {
	v.b.t.Helper()
	return v.ask(http.MethodPost, v.b.listen, path, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

func (v *visitor) get(address, path string) (int, string) {
	v.b.t.Helper()
	resp, text := v.ask(http.MethodGet, address, path, nil)
	return resp.StatusCode, text
}

// members are the addresses of the app's runtimes.
func (b *bed) members() (all []string) {
	for _, m := range b.view().Members() {
		if m.State == topology.Active {
			all = append(all, m.Serving.Address(m.Address))
		}
	}
	return all
}

const counter = `<?php session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo 'n=', $_SESSION['n'];`

// wordPress is Debian's WordPress as a repository.
func wordPress(t *testing.T) *site {
	t.Helper()
	const from = "/usr/share/wordpress"
	require.DirExists(t, from, "apt-get install wordpress wordpress-theme-twentytwentythree")
	s := newSite(t, "x")
	s.git("rm", "-q", "-r", ".")
	out, err := exec.Command("cp", "-rL", from+"/.", s.dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	config, err := os.ReadFile(filepath.Join("testdata", "wordpress", "wp-config.php"))
	require.NoError(t, err)
	s.write("wp-config.php", string(config))
	s.write("counter.php", counter)
	s.commitAll()
	return s
}

// TestWordPress is Debian's WordPress on two members and a database: installed,
// logged in, written to, with an upload and sessions that both members share,
// over a new release, backed up and restored.
func TestWordPress(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) {
		c.Cartridges = append(c.Cartridges, mysql.Type{})
		first := freePort(t)
		c.ServicePorts = stratos.PortRange{First: first, Last: first}
	})
	s := wordPress(t)
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: "db", Cartridge: "mysql"}))
	require.NoError(t, b.Subscribe(b.ctx, subscriptionOf(s, sized(2, 2), func(s *tenant.Subscription) {
		s.Cartridge, s.Env = "php", map[string]string{"APP_SECRET": "a secret of the test"}
	})))
	require.NoError(t, b.Connect(b.ctx, tenant.Default, app, "db"))
	b.await("two members serve", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 2 })
	v := &visitor{b: b, cookies: map[string]string{}}

	resp, _ := v.ask(http.MethodGet, b.listen, "/", nil)
	require.Equal(t, http.StatusFound, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Location"), "/wp-admin/install.php")
	_, text := v.send("/wp-admin/install.php?step=2", url.Values{
		"weblog_title": {"A blog"}, "user_name": {"admin"}, "admin_password": {"not-a-good-one"}, "admin_password2": {"not-a-good-one"},
		"pw_weak": {"on"}, "admin_email": {"a@example.test"}, "blog_public": {"0"}, "language": {""},
	})
	require.Contains(t, text, "Success!")
	code, text := v.get(b.listen, "/")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "A blog")

	v.get(b.listen, "/wp-login.php")
	resp, text = v.send("/wp-login.php", url.Values{"log": {"admin"}, "pwd": {"not-a-good-one"}, "testcookie": {"1"}, "redirect_to": {"/wp-admin/"}})
	require.Equal(t, http.StatusFound, resp.StatusCode, text)
	for _, m := range b.members() {
		code, text = v.get(m, "/wp-admin/")
		require.Equal(t, http.StatusOK, code, "logged in at both members")
		require.Contains(t, text, "Dashboard")
	}
	_, nonce := v.get(b.listen, "/wp-admin/admin-ajax.php?action=rest-nonce")
	resp, text = v.ask(http.MethodPost, b.listen, "/?rest_route=/wp/v2/posts", strings.NewReader(`{"title":"A post","content":"Written by REST","status":"publish"}`),
		"Content-Type", "application/json", "X-WP-Nonce", nonce)
	require.Equal(t, http.StatusCreated, resp.StatusCode, text)
	var post struct{ ID int }
	require.NoError(t, json.Unmarshal([]byte(text), &post))
	written := fmt.Sprint("/?p=", post.ID)
	resp, text = v.ask(http.MethodPost, b.listen, "/?rest_route=/wp/v2/media", picture(t), "Content-Type", "image/png",
		"Content-Disposition", "attachment; filename=dot.png", "X-WP-Nonce", nonce)
	require.Equal(t, http.StatusCreated, resp.StatusCode, text)
	var media struct {
		Source string `json:"source_url"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &media))
	upload, err := url.Parse(media.Source)
	require.NoError(t, err)
	require.Equal(t, "app.localhost", upload.Host)

	shared := func(from int) {
		t.Helper()
		members := b.members()
		require.Len(t, members, 2)
		for i, m := range append(members, members...) {
			resp, _ := v.ask(http.MethodGet, m, upload.Path, nil)
			require.Equal(t, http.StatusOK, resp.StatusCode, "the upload, from each")
			require.Equal(t, "image/png", resp.Header.Get("Content-Type"))
			_, text := v.get(m, "/counter.php")
			require.Equal(t, "n="+string(rune('0'+from+i)), text, "the session, at each")
		}
	}
	shared(1)
	revision := func() string {
		s.write("counter.php", counter+"\n")
		return s.commitAll()
	}()
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, app))
	b.await("both serve the new release", func(c *topology.ClusterView) bool {
		for _, m := range c.Members() {
			if m.Serving == nil || m.Serving.Release.Revision != revision || m.State != topology.Active {
				return false
			}
		}
		return true
	})
	shared(5)
	code, text = v.get(b.listen, written)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "Written by REST")
	for _, path := range []string{"/.git/config", "/.htaccess"} {
		code, _ = v.get(b.listen, path)
		require.Equal(t, http.StatusNotFound, code, path)
	}

	list, err := b.Bindings(b.ctx, databaseCluster)
	require.NoError(t, err)
	sums := func() string {
		t.Helper()
		out, err := statement(list.All[0], b.Config().ServicePorts.First,
			"CHECKSUM TABLE wp_posts, wp_postmeta, wp_users, wp_usermeta, wp_terms, wp_comments")
		require.NoError(t, err)
		return out
	}
	before := sums()
	backup := b.finished(b.Backup(b.ctx, tenant.Default, "db"))
	_, err = statement(list.All[0], b.Config().ServicePorts.First, "DROP TABLE wp_posts; UPDATE wp_users SET user_pass = ''")
	require.NoError(t, err)
	b.finished(b.Restore(b.ctx, tenant.Default, "db", backup.ID))
	require.Equal(t, before, sums(), "equal checksums")
	_, text = v.get(b.listen, written)
	require.Contains(t, text, "Written by REST")
}

func picture(t *testing.T) io.Reader {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 8, 8))))
	return &b
}

// finished waits until a job for the service of db has ended well.
func (b *bed) finished(id string, err error) tenant.Job {
	b.t.Helper()
	require.NoError(b.t, err)
	j, err := adminOf(b.t, b.Config()).AwaitJob(b.ctx, tenant.Default, "db", id)
	require.NoError(b.t, err)
	require.Equal(b.t, tenant.JobDone, j.State, j.Error)
	return j
}
