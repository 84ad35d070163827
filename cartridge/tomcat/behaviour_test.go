package tomcat_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/tomcat"
)

// awaitStart waits until Tomcat has tried to start everything.
func awaitStart(t *testing.T, r *cartridgetest.Runtime) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(r.Log(), "Server startup in") }, time.Minute, 10*time.Millisecond, "%s", r.Log())
}

// TestFailsWithItsLog: Tomcat itself would answer 404, like an application
// that is well.
func TestFailsWithItsLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		war  map[string]string
		want string
	}{
		{"listener that is not there", map[string]string{"index.jsp": "hi", "WEB-INF/web.xml": `<web-app><listener><listener-class>com.example.Missing</listener-class></listener></web-app>`}, "ClassNotFoundException: com.example.Missing"},
		{"servlet that does not start", map[string]string{"index.jsp": "hi", "WEB-INF/web.xml": `<web-app><servlet><servlet-name>a</servlet-name><servlet-class>com.example.Missing</servlet-class><load-on-startup>1</load-on-startup></servlet></web-app>`}, "ClassNotFoundException: com.example.Missing"},
		{"descriptor that Tomcat refuses", map[string]string{"index.jsp": "hi", "WEB-INF/web.xml": `<web-app><servlet-mapping><servlet-name>no</servlet-name><url-pattern>/a</url-pattern></servlet-mapping></web-app>`}, "Servlet mapping specifies an unknown servlet name [no]"},
		{"its context.xml", map[string]string{"index.jsp": "hi", "META-INF/context.xml": "<Context><Oops"}, "SAXParseException"},
		{"page that does not compile", map[string]string{"index.jsp": "<% nonsense %>", "WEB-INF/web.xml": `<web-app xmlns="http://java.sun.com/xml/ns/javaee"/>`}, "nonsense cannot be resolved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := cartridgetest.Launch(t, tomcat.Type{}, cartridgetest.Case{Files: with(t, tt.war)})
			awaitStart(t, r)
			status, body := r.Get("/")
			require.GreaterOrEqual(t, status, 500, "%s\n%s", body, r.Log())
			require.NotContains(t, body, "Exception", "the log is not for visitors")
			require.Eventually(t, func() bool { return strings.Contains(r.Log(), tt.want) }, 10*time.Second, 5*time.Millisecond, "%s", r.Log())
			r.Stop()
		})
	}
}

func TestNoteOnJavaEE(t *testing.T) {
	r := cartridgetest.Start(t, tomcat.Type{}, cartridgetest.Case{Files: with(t, map[string]string{
		"index.jsp": "hi", "WEB-INF/web.xml": `<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="4.0"/>`,
	})})
	require.Contains(t, r.Log(), "note: WEB-INF/web.xml of app.war is one of Java EE")
	r.Stop()
}

func TestSeveral(t *testing.T) {
	r := cartridgetest.Start(t, tomcat.Type{}, cartridgetest.Case{Files: map[string]string{
		"ROOT.war":     war(t, map[string]string{"index.html": "root"}),
		"shop.war":     war(t, map[string]string{"index.html": "shop 0"}),
		"shop##2.war":  war(t, map[string]string{"index.html": "shop 2"}),
		"a#b.war":      war(t, map[string]string{"index.html": "a b"}),
		"not-a-war.md": "",
	}})
	for path, want := range map[string]string{"/": "root", "/shop/": "shop 2", "/a/b/": "a b"} {
		status, body := r.Get(path)
		require.Equal(t, 200, status, path)
		require.Equal(t, want, body, path)
	}
	r.Stop()

	r = cartridgetest.Launch(t, tomcat.Type{}, cartridgetest.Case{Files: map[string]string{
		"a.war": war(t, map[string]string{"index.html": "a"}),
		"b.war": war(t, map[string]string{"META-INF/context.xml": "<"}),
	}})
	awaitStart(t, r)
	for path, want := range map[string]int{"/a/": 200, "/b/": 503, "/-/tomcat": 503, "/c/": 404} {
		status, body := r.Get(path)
		require.Equal(t, want, status, "%s: %s", path, body)
	}
	r.Stop()
}

func site(t *testing.T) cartridgetest.Case {
	return cartridgetest.Case{Files: map[string]string{
		"WEB-INF/web.xml":          jakarta,
		"info.jsp":                 `<%= request.getRemoteAddr() %> <%= request.getScheme() %> <%= request.isSecure() %> <%= request.getServerName() %>:<%= request.getServerPort() %>`,
		"fatal.jsp":                `<% if (true) throw new RuntimeException("secret detail"); %>`,
		"modern.jsp":               `<% var s = """` + "\n" + `text"""; record P(int x) {} %><%= s + new P(7).x() %>`,
		"write.jsp":                `<% java.nio.file.Files.writeString(java.nio.file.Path.of(System.getenv("DATA_DIR"), "kept"), "x"); %>ok`,
		"folder/readme.txt":        "text",
		"large.bin":                strings.Repeat("x", 200_000),
		".env":                     "secret",
		"folder/.htpasswd":         "secret",
		".well-known/security.txt": "contact",
		"META-INF/MANIFEST.MF":     "secret",
	}}
}

func TestRequests(t *testing.T) {
	r := cartridgetest.Start(t, tomcat.Type{}, site(t))
	outside := filepath.Join(t.TempDir(), "outside.txt")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(r.Release, "link.txt")))
	for _, tt := range []struct {
		name, path string
		status     int
		body       string
	}{
		{"no first page", "/", 404, ""},
		{"no list of a folder", "/folder/", 404, ""},
		{"file", "/folder/readme.txt", 200, "text"},
		{"large file", "/large.bin", 200, "xxx"},
		{"language of today", "/modern.jsp", 200, "text7"},
		{"data folder", "/write.jsp", 200, "ok"},
		{"error", "/fatal.jsp", 500, ""},
		{"environment file", "/.env", 403, ""},
		{"encoded", "/%2eenv", 403, ""},
		{"behind a parameter", "/;a=b/.env", 403, ""},
		{"below", "/folder/.htpasswd", 403, ""},
		{"well-known", "/.well-known/security.txt", 200, "contact"},
		{"descriptor", "/WEB-INF/web.xml", 404, ""},
		{"manifest", "/META-INF/MANIFEST.MF", 404, ""},
		{"link out of the release", "/link.txt", 404, ""},
		{"manager", "/manager/html", 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := r.Get(tt.path)
			require.Equal(t, tt.status, status, "%s\n%s", body, r.Log())
			require.Contains(t, body, tt.body)
			require.NotContains(t, body, "secret")
			require.NotContains(t, body, "10.1", "the version")
		})
	}
	require.FileExists(t, filepath.Join(r.Data, "kept"))
	require.Contains(t, r.Log(), "secret detail")
	require.Equal(t, "text/plain", r.Header("/folder/readme.txt").Get("Content-Type"))
	r.Stop()
}

func TestClientBehindTheBalancer(t *testing.T) {
	r := cartridgetest.Start(t, tomcat.Type{}, site(t))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/info.jsp", nil)
	require.NoError(t, err)
	req.Host = "shop.example.test"
	req.Header.Set("X-Forwarded-For", "203.0.113.7, 10.0.0.9")
	req.Header.Set("X-Forwarded-Proto", "https")
	resp, body := r.Do(req)
	require.Contains(t, body, "10.0.0.9 https true shop.example.test:443")
	require.Empty(t, resp.Header.Get("Server"))
	r.Stop()
}

// TestStopsWithIdleConnections: the connections that a balancer keeps do not
// keep a stop waiting for its whole grace, which would end in a kill.
func TestStopsWithIdleConnections(t *testing.T) {
	r := cartridgetest.Start(t, tomcat.Type{}, site(t))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(r.URL + "/folder/readme.txt")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	r.Stop()
}

// BenchmarkFirstAnswer reports what the first answer takes of a processor and
// of memory.
func BenchmarkFirstAnswer(b *testing.B) {
	c := cartridgetest.Case{Files: with(b, map[string]string{"index.jsp": page})}
	var cpu, rss float64
	for b.Loop() {
		r := cartridgetest.Start(b, tomcat.Type{}, c)
		for _, pid := range r.Processes() {
			s, m := used(b, pid)
			cpu, rss = cpu+s, rss+m
		}
		r.Stop()
	}
	b.ReportMetric(cpu/float64(b.N), "CPU-s/op")
	b.ReportMetric(rss/float64(b.N), "MB-RSS/op")
}

// used returns the seconds of a processor and the MB of memory of a process.
func used(t testing.TB, pid int) (seconds, megabytes float64) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	f := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	var user, system, pages float64
	_, err = fmt.Sscan(f[11]+" "+f[12]+" "+f[21], &user, &system, &pages)
	require.NoError(t, err)
	return (user + system) / 100, pages * float64(os.Getpagesize()) / 1e6
}

// TestLibraries: tags in the application's own libraries are found.
func TestLibraries(t *testing.T) {
	library := war(t, map[string]string{
		"META-INF/t.tld":          `<taglib xmlns="https://jakarta.ee/xml/ns/jakartaee" version="3.0"><tlib-version>1.0</tlib-version><short-name>t</short-name><uri>http://example.test/t</uri><tag-file><name>hello</name><path>/META-INF/tags/hello.tag</path></tag-file></taglib>`,
		"META-INF/tags/hello.tag": `hello from a tag`,
	})
	r := cartridgetest.Start(t, tomcat.Type{}, cartridgetest.Case{
		Files: with(t, map[string]string{
			"WEB-INF/lib/t.jar": library,
			"index.jsp":         `<%@ taglib uri="http://example.test/t" prefix="t" %><t:hello/>`,
		}),
		Settings: map[string]string{"heap": "64m"},
	})
	_, body := r.Get("/")
	require.Contains(t, body, "hello from a tag", r.Log())
	r.Stop()
}
