package php_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/php"
)

// site is an application with everything that could be asked for wrongly.
func site() cartridgetest.Case {
	return cartridgetest.Case{Files: map[string]string{
		"index.php":                `<?php echo 'front ', $_SERVER['REQUEST_URI'], ' q=', $_GET['q'] ?? '';`,
		"info.php":                 `<?php echo json_encode($_SERVER);`,
		"path.php":                 `<?php echo 'script=', $_SERVER['SCRIPT_NAME'], ' self=', $_SERVER['PHP_SELF'], ' info=', $_SERVER['PATH_INFO'] ?? '';`,
		"ini.php":                  `<?php echo ini_get($_GET['k']);`,
		"error.php":                `<?php error_log(str_repeat('x', 5000) . ' the end'); echo 'ok';`,
		"fatal.php":                `<?php throw new Exception('secret detail');`,
		"count.php":                `<?php session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];`,
		"upload.php":               `<?php echo strlen(file_get_contents($_FILES['f']['tmp_name'])), ' ', $_FILES['f']['tmp_name'];`,
		"body.php":                 `<?php echo $_SERVER['CONTENT_LENGTH'], ' ', strlen(file_get_contents('php://input'));`,
		"write.php":                `<?php echo file_put_contents(getenv('DATA_DIR') . '/kept', 'x');`,
		"style.css":                "body{}",
		"old.phtml":                "<?php secret",
		"copy.PHP":                 "<?php secret",
		"page.php5":                "<?php secret",
		"picture.png":              "<?php echo 'picture ran';",
		".env":                     "PASSWORD=1",
		".git/config":              "secret",
		"sub/.htpasswd":            "secret",
		"sub/index.html":           "sub index",
		"empty/readme.txt":         "text",
		".well-known/security.txt": "contact",
		".well-known/.hidden":      "secret",
		"dir.php/file.txt":         "text",
	}}
}

func TestRequests(t *testing.T) {
	r := cartridgetest.Start(t, php.Type{}, site())
	for _, tt := range []struct {
		name, path string
		status     int
		body       string
	}{
		{"front page", "/", 200, "front / q="},
		{"front controller", "/a/pretty/url?q=1", 200, "front /a/pretty/url?q=1 q=1"},
		{"static file", "/style.css", 200, "body{}"},
		{"folder with an index", "/sub/", 200, "sub index"},
		{"folder without a slash", "/sub", 301, ""},
		{"folder without an index", "/empty/", 403, ""},
		{"script", "/path.php", 200, "script=/path.php self=/path.php info="},
		{"path info", "/path.php/a/b", 200, "script=/path.php self=/path.php/a/b info=/a/b"},
		{"path info that looks like a script", "/path.php/x.php", 200, "script=/path.php self=/path.php/x.php info=/x.php"},
		{"missing script", "/missing.php", 404, ""},
		{"script below a picture", "/picture.png/x.php", 404, ""},
		{"picture", "/picture.png", 200, "<?php echo 'picture ran';"},
		{"encoded nul", "/picture.png%00.php", 400, ""},
		{"folder named as a script", "/dir.php/file.txt", 404, ""},
		{"other spelling", "/old.phtml", 404, ""},
		{"capitals", "/copy.PHP", 404, ""},
		{"old version", "/page.php5", 404, ""},
		{"environment file", "/.env", 404, ""},
		{"repository", "/.git/config", 404, ""},
		{"dot file below", "/sub/.htpasswd", 404, ""},
		{"encoded dot", "/%2eenv", 404, ""},
		{"well-known", "/.well-known/security.txt", 200, "contact"},
		{"dot file in well-known", "/.well-known/.hidden", 404, ""},
		{"fpm's status page", "/-/fpm-status", 200, "front"},
		{"fatal error", "/fatal.php", 500, ""},
		{"data folder", "/write.php", 200, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := r.Get(tt.path)
			require.Equal(t, tt.status, status, body)
			require.Contains(t, body, tt.body)
			require.NotContains(t, body, "secret")
			require.NotContains(t, body, "PASSWORD")
		})
	}
	require.FileExists(t, filepath.Join(r.Volume("shared"), "data", "kept"))
	require.Contains(t, r.Log(), "secret detail", "errors are in the log")
	r.Stop()
}

func TestRequestVariables(t *testing.T) {
	r := cartridgetest.Start(t, php.Type{}, site())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/info.php", nil)
	require.NoError(t, err)
	req.Host = "shop.example.test"
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Forwarded-For", "203.0.113.7, 198.51.100.9")
	req.Header.Set("Proxy", "http://evil.example.test")
	resp, body := r.Do(req)
	for _, want := range []string{
		`"HTTPS":"on"`, `"REQUEST_SCHEME":"https"`, `"SERVER_PORT":"443"`,
		`"SERVER_NAME":"shop.example.test"`, `"HTTP_HOST":"shop.example.test"`,
		`"REMOTE_ADDR":"198.51.100.9"`,
	} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "evil")
	require.Equal(t, "nginx", resp.Header.Get("Server"), "without a version")
	require.Empty(t, resp.Header.Get("X-Powered-By"))

	_, body = r.Get("/info.php")
	require.NotContains(t, body, `"HTTPS"`)
	require.Contains(t, body, `"REMOTE_ADDR":"127.0.0.1"`)
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/sub", nil)
	require.NoError(t, err)
	resp, _ = r.Do(req)
	require.Equal(t, "/sub/", resp.Header.Get("Location"), "the private port is not shown")
	r.Stop()
}

func TestBodies(t *testing.T) {
	r := cartridgetest.Start(t, php.Type{}, site())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/body.php", io.MultiReader(strings.NewReader(strings.Repeat("x", 200_000))))
	require.NoError(t, err) // a reader of unknown length is sent in chunks
	_, body := r.Do(req)
	require.Equal(t, "200000 200000", body)

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("f", "f.bin")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 20<<20)) // above php's own 2 MiB
	require.NoError(t, err)
	require.NoError(t, w.Close())
	req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/upload.php", &form)
	require.NoError(t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	_, body = r.Do(req)
	require.Contains(t, body, "20971520 "+r.Dir+"/tmp/", "uploads stay in the runtime's folder")
	r.Stop()
}

func TestMessagesArriveWholeAndOnce(t *testing.T) {
	r := cartridgetest.Start(t, php.Type{}, site())
	_, body := r.Get("/error.php")
	require.Equal(t, "ok", body)
	whole := strings.Repeat("x", 5000) + " the end\n"
	require.Eventually(t, func() bool { return strings.Contains(r.Log(), whole) }, 10*time.Second, 5*time.Millisecond, "%s", r.Log())
	r.Stop()
	require.NotContains(t, r.Log(), "FastCGI sent in stderr")
}

// TestSessionsOutliveTheRuntime: a new release logs nobody out.
func TestSessionsOutliveTheRuntime(t *testing.T) {
	one := cartridgetest.Start(t, php.Type{}, site())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.URL+"/count.php", nil)
	require.NoError(t, err)
	resp, body := one.Do(req)
	require.Equal(t, "1", body, one.Log())
	two := one.Beside()
	for i, r := range []*cartridgetest.Runtime{two, one, two} {
		req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/count.php", nil)
		require.NoError(t, err)
		req.AddCookie(resp.Cookies()[0])
		_, body = r.Do(req)
		require.Equal(t, []string{"2", "3", "4"}[i], body)
	}
	one.Stop()
	two.Stop()
}

func TestSettings(t *testing.T) {
	c := site()
	c.Settings = map[string]string{"memory_limit": "64M", "children": "1"}
	r := cartridgetest.Start(t, php.Type{}, c)
	_, body := r.Get("/ini.php?k=memory_limit")
	require.Equal(t, "64M", body)
	r.Stop()

	c.Settings = map[string]string{"root": "sub"}
	r = cartridgetest.Start(t, php.Type{}, c)
	_, body = r.Get("/")
	require.Equal(t, "sub index", body)
	status, _ := r.Get("/info.php")
	require.Equal(t, http.StatusNotFound, status, "above the root")
	r.Stop()
}
