package tomcat_test

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/tomcat"
)

// slow lasts a second, and tells that it does by what it has sent.
const slow = `<%@ page contentType="text/plain" buffer="none" %>first<% out.flush(); response.flushBuffer();
long end = System.nanoTime() + 1_000_000_000L; while (System.nanoTime() < end) Thread.sleep(10); %>done`

const page = `<%@ page contentType="text/plain" %>env=<%= System.getenv("DATABASE_URL") %>`

// war makes a WAR of files: path to content.
func war(t testing.TB, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.String()
}

// with returns a release of one WAR with the files.
func with(t testing.TB, files map[string]string) map[string]string {
	return map[string]string{"app.war": war(t, files)}
}

func TestWAR(t *testing.T) {
	cartridgetest.Run(t, tomcat.Type{}, cartridgetest.Case{
		Files: with(t, map[string]string{"index.jsp": page, "slow.jsp": slow, "style.css": "body{}"}),
		Env:   map[string]string{"DATABASE_URL": "mysql://u:{{x}}@h/d"},
		Want:  map[string]string{"/": "env=mysql://u:{{x}}@h/d", "/style.css": "body{}"},
		Slow:  "/slow.jsp",
	})
}

func TestExploded(t *testing.T) {
	cartridgetest.Run(t, tomcat.Type{}, cartridgetest.Case{
		Files: map[string]string{
			"web/index.jsp": page, "web/WEB-INF/web.xml": `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>`,
		},
		Settings: map[string]string{"root": "web", "context": "/shop/a"},
		Env:      map[string]string{"DATABASE_URL": "x"},
		Want:     map[string]string{"/shop/a/": "env=x"},
	})
}

// TestExamples runs Tomcat's own examples, as a WAR.
func TestExamples(t *testing.T) {
	const dir = "/usr/share/tomcat10-examples/examples"
	_, err := os.Stat(dir)
	require.NoError(t, err, "apt-get install tomcat10-examples")
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, dir+"/")] = string(b)
		return err
	}))
	r := cartridgetest.Start(t, tomcat.Type{}, cartridgetest.Case{
		Files:    map[string]string{"target/examples.war": war(t, files)},
		Settings: map[string]string{"context": "/examples"},
	})
	for path, want := range map[string]string{
		"/examples/servlets/servlet/HelloWorldExample":         "Hello World!",
		"/examples/jsp/jsp2/el/basic-arithmetic.jsp":           "<td>3</td>",
		"/examples/jsp/jsp2/simpletag/hello.jsp":               "Hello, world!",
		"/examples/servlets/servlet/SessionExample?dataname=a": "Session ID",
		"/examples/jsp/dates/date.jsp":                         "Day of month",
	} {
		status, body := r.Get(path)
		require.Equal(t, 200, status, "%s: %s\n%s", path, body, r.Log())
		require.Contains(t, body, want, path)
	}
	r.Stop()
}
