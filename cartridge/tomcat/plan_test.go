package tomcat_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/tomcat"
)

const jakarta = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>`

// release makes a release of files.
func release(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func script(p cartridge.Plan) string { return p.Files[0].Content }

func TestApplications(t *testing.T) {
	good := war(t, map[string]string{"WEB-INF/web.xml": jakarta})
	for _, tt := range []struct {
		name     string
		files    map[string]string
		settings map[string]string
		health   string
		links    []string
	}{
		{"one", map[string]string{"shop.war": good}, nil, "/", []string{`/'shop.war' 'webapps/ROOT##0.war'`}},
		{"one with a version", map[string]string{"shop##3.war": good}, nil, "/", []string{`/'shop##3.war' 'webapps/ROOT##0.war'`}},
		{"one below", map[string]string{"a/b c/it's.war": good, "README": ""}, nil, "/", []string{`/'a/b c/it'\''s.war' 'webapps/ROOT##0.war'`}},
		{"one at a path", map[string]string{"x.war": good}, map[string]string{"context": "/a/b"}, "/a/b/", []string{`/'x.war' 'webapps/a#b##0.war'`}},
		{"one in root", map[string]string{"a/x.war": good, "b/y.war": good}, map[string]string{"root": "b"}, "/", []string{`/'b/y.war' 'webapps/ROOT##0.war'`}},
		{"first page", map[string]string{"x.war": good}, map[string]string{"health": "/up?a=b"}, "/up?a=b", []string{"ROOT"}},
		{
			"several", map[string]string{"ROOT.war": good, "shop.war": good, "shop##2.war": good, "a#b.war": good}, nil, "/-/tomcat",
			[]string{`'webapps/ROOT##0.war'`, `'webapps/shop##0.war'`, `'webapps/shop##2.war'`, `'webapps/a#b##0.war'`},
		},
		{"exploded", map[string]string{"WEB-INF/web.xml": jakarta, "x.war": good}, nil, "/", []string{`/'.' 'webapps/ROOT##0'`}},
		{
			"exploded ones side by side", map[string]string{"ROOT/WEB-INF/web.xml": jakarta, "shop/WEB-INF/web.xml": jakarta, "a.war": good, "docs/x": ""}, nil, "/-/tomcat",
			[]string{`/'ROOT' 'webapps/ROOT##0'`, `/'shop' 'webapps/shop##0'`, `/'a.war' 'webapps/a##0.war'`},
		},
		{"template in a name", map[string]string{"{{.Dir}}/a.war": good}, nil, "/", []string{`{{"{"}}{{"{"}}.Dir`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tomcat.Type{}.Plan(cartridge.Input{Release: release(tt.files), Settings: tt.settings})
			require.NoError(t, err)
			require.NoError(t, p.Check())
			require.Equal(t, tt.health, p.Health.Path)
			for _, l := range tt.links {
				require.Contains(t, script(p), l)
			}
			require.Equal(t, len(tt.links), strings.Count(script(p), "ln -s"))
		})
	}
}

func TestHeap(t *testing.T) {
	good := release(map[string]string{"x.war": war(t, nil)})
	for _, tt := range []struct{ name, size, setting, want string }{
		{"default", "", "", "-Xmx128m"},
		{"a cloud's word", "t3.small", "", "-Xmx128m"},
		{"half of the size", "1g", "", "-Xmx512m"},
		{"of a tiny one", "40m", "", "-Xmx32m"},
		{"set", "1g", "256m", "-Xmx256m"},
		{"set in gigabytes", "", "2G", "-Xmx2048m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := cartridge.Input{Release: good, Size: tt.size, Settings: map[string]string{}}
			if tt.setting != "" {
				in.Settings["heap"] = tt.setting
			}
			p, err := tomcat.Type{}.Plan(in)
			require.NoError(t, err)
			require.Contains(t, p.Processes[0].Args, tt.want)
		})
	}
}

func TestRefusals(t *testing.T) {
	good := war(t, nil)
	one := map[string]string{"x.war": good}
	class := func(text string) map[string]string {
		return with(t, map[string]string{
			"WEB-INF/web.xml":           `<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee"><servlet><servlet-class> a.B </servlet-class></servlet></web-app>`,
			"WEB-INF/classes/a/B.class": text,
		})
	}
	for _, tt := range []struct {
		name     string
		files    map[string]string
		settings map[string]string
		env      map[string]string
		want     string
	}{
		{"nothing", map[string]string{"README": ""}, nil, nil, "add a .war file, or a folder WEB-INF"},
		{"sources", map[string]string{"pom.xml": ""}, nil, nil, "there is pom.xml: build the project"},
		{"several below", map[string]string{"a/x.war": good, "b/y.war": good}, nil, nil, "a/x.war and b/y.war: name the folder"},
		{"no WAR", map[string]string{"x.war": "PK but no zip"}, nil, nil, "x.war: is no WAR: zip: not a valid zip file: build it again"},
		{"broken web.xml", with(t, map[string]string{"WEB-INF/web.xml": "<web-app>\n<servlet>\n</web-app>"}), nil, nil, "app.war: WEB-INF/web.xml: XML syntax error on line 3"},
		{"broken exploded web.xml", map[string]string{"WEB-INF/web.xml": "<web-app>"}, nil, nil, ".: WEB-INF/web.xml: XML syntax error on line 1"},
		{"large web.xml", map[string]string{"WEB-INF/web.xml": strings.Repeat(" ", 2<<20)}, nil, nil, "is larger than"},
		{"javax", class("\xca\xfe javax/servlet/http/HttpServlet"), nil, nil, `class a.B is made for javax.servlet: Tomcat 10 runs Jakarta EE`},
		{"names that are the same", map[string]string{"a##0.war": good, "a.war": good}, nil, nil, "a##0.war and a.war are the same version of /a"},
		{"name with a space", map[string]string{"a b.war": good, "c.war": good}, nil, nil, "a b.war: its name becomes the path"},
		{"name of dots", map[string]string{"...war": good, "c.war": good}, nil, nil, "...war: its name becomes the path"},
		{"context for several", map[string]string{"a.war": good, "b.war": good}, map[string]string{"context": "/"}, nil, "setting context: there are 2 applications"},
		{"context without a slash", one, map[string]string{"context": "shop"}, nil, "setting context: "},
		{"context with dots", one, map[string]string{"context": "/../a"}, nil, "setting context: "},
		{"context of a version", one, map[string]string{"context": "/a##1"}, nil, "setting context: "},
		{"empty context", one, map[string]string{"context": ""}, nil, "setting context: "},
		{"health", one, map[string]string{"health": "up"}, nil, "setting health: "},
		{"health with a space", one, map[string]string{"health": "/a b"}, nil, "setting health: "},
		{"heap", one, map[string]string{"heap": "128"}, nil, "setting heap: "},
		{"heap of an option", one, map[string]string{"heap": "1m -X"}, nil, "setting heap: "},
		{"too small", one, map[string]string{"heap": "8m"}, nil, "setting heap: "},
		{"too large", one, map[string]string{"heap": "9999g"}, nil, "setting heap: "},
		{"root outside", one, map[string]string{"root": "../x"}, nil, "setting root: "},
		{"root that is not there", one, map[string]string{"root": "x"}, nil, `setting root: there is no folder "x"`},
		{"unknown setting", one, map[string]string{"memory": "x"}, nil, "setting memory: tomcat knows root, context, health and heap"},
		{"port", one, nil, map[string]string{"PORT": "1"}, "env PORT"},
		{"variable", one, nil, map[string]string{"A=": "1"}, "no name of a variable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tomcat.Type{}.Plan(cartridge.Input{Release: release(tt.files), Settings: tt.settings, Env: tt.env})
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestLinks: Tomcat reads by path, and would read whatever a link leads to.
func TestLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "x.war")
	require.NoError(t, os.WriteFile(outside, []byte(war(t, nil)), 0o600))
	for _, tt := range []struct{ name, from, to string }{
		{"WAR outside", outside, "x.war"},
		{"WAR inside", "y", "x.war"},
		{"folder", ".", "WEB-INF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "y"), []byte(war(t, nil)), 0o600))
			require.NoError(t, os.Symlink(tt.from, filepath.Join(dir, tt.to)))
			root, err := os.OpenRoot(dir)
			require.NoError(t, err)
			defer root.Close()
			_, err = tomcat.Type{}.Plan(cartridge.Input{Release: root.FS()})
			require.ErrorContains(t, err, "is a link")
		})
	}
}

// TestOldDescriptor: many applications that run carry one, hence no refusal.
func TestOldDescriptor(t *testing.T) {
	for _, tt := range []struct {
		name, web string
		old       bool
	}{
		{"jakarta", jakarta, false},
		{"javaee", `<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee"/>`, true},
		{"j2ee", `<web-app xmlns="http://java.sun.com/xml/ns/j2ee"/>`, true},
		{"document type", `<!DOCTYPE web-app PUBLIC "-//Sun//DTD" "http://java.sun.com/dtd/web-app_2_3.dtd"><web-app/>`, true},
		{"an encoding that is Tomcat's to read", `<?xml version="1.0" encoding="EBCDIC"?><x>`, false},
		{"an entity of its own", `<!DOCTYPE x [<!ENTITY e "x">]><web-app>&e;</web-app>`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tomcat.Type{}.Plan(cartridge.Input{Release: release(with(t, map[string]string{"WEB-INF/web.xml": tt.web}))})
			require.NoError(t, err)
			require.Equal(t, tt.old, strings.Contains(script(p), "tomcat-jakartaee-migration"))
		})
	}
}

// FuzzPlan: what a tenant names and writes is refused, or harmless.
func FuzzPlan(f *testing.F) {
	f.Add("a.war", []byte("PK"), "128m", "/", "/up")
	f.Add("a'b\n.war", []byte(war(f, map[string]string{"WEB-INF/web.xml": "<a>"})), "1g", "/a", "/{{")
	f.Add("{{.Dir}}.war", []byte(war(f, nil)), "-1m", "/a#b", "x")
	f.Fuzz(func(t *testing.T, name string, content []byte, heap, context, health string) {
		if !fs.ValidPath(name) {
			return
		}
		p, err := tomcat.Type{}.Plan(cartridge.Input{
			Release:  fstest.MapFS{name: {Data: content}},
			Settings: map[string]string{"heap": heap, "context": context, "health": health},
		})
		if err != nil {
			return
		}
		require.NoError(t, p.Check())
	})
}

// FuzzWebXML: a descriptor is read, refused, or left to Tomcat.
func FuzzWebXML(f *testing.F) {
	for _, s := range []string{jakarta, "<a", `<?xml encoding="x"?>`, "<!DOCTYPE a [", "<web-app><servlet-class>../a</servlet-class></web-app>", "&x;"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, web []byte) {
		p, err := tomcat.Type{}.Plan(cartridge.Input{Release: fstest.MapFS{"WEB-INF/web.xml": {Data: web}}})
		if err == nil {
			require.NoError(t, p.Check())
		}
	})
}

func Example() {
	p, err := tomcat.Type{}.Plan(cartridge.Input{
		Release: fstest.MapFS{"WEB-INF/web.xml": {Data: []byte(jakarta)}},
	})
	fmt.Println(p.Processes[0].Name, p.Health.Path, err)
	// Output: tomcat / <nil>
}
