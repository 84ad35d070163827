package cartridge_test

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
)

// typeOf is a type with a name and a folder.
func typeOf(name, folder string) cartridge.Type {
	return cartridge.Definition{Name: name, Folder: folder}.Type()
}

// repository makes a release of files; a name that ends in a slash is a folder.
func repository(partsFile string, names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{}
	}
	if partsFile != "" {
		m[cartridge.PartsFile] = &fstest.MapFile{Data: []byte(partsFile)}
	}
	return m
}

const both = `parts:
- {folder: apps/web, cartridge: tomcat}
- {folder: special, subscription: shop}
- {folder: ., cartridge: php}
`

func TestPart(t *testing.T) {
	all := []string{"apps/web/x.war", "special/x.war", "webapps/x.war"}
	for _, tt := range []struct {
		name    string
		release fstest.MapFS
		alias   string
		typ     cartridge.Type
		want    string
	}{
		{"by cartridge", repository(both, all...), "web", typeOf("tomcat", "webapps"), "apps/web"},
		{"by subscription first", repository(both, all...), "shop", typeOf("tomcat", "webapps"), "special"},
		{"everything", repository(both, all...), "web", typeOf("php", ""), "."},
		{"convention", repository("", all...), "web", typeOf("tomcat", "webapps"), "webapps"},
		{"deep convention", repository("", all...), "web", typeOf("tomcat", "apps/web"), "apps/web"},
		{"convention that is not there", repository("", "index.php"), "web", typeOf("tomcat", "webapps"), "."},
		{"a file of that name", repository("", "webapps"), "web", typeOf("tomcat", "webapps"), "."},
		{"no convention", repository("", all...), "web", typeOf("php", ""), "."},
		{"file without parts", repository("# nothing\n", all...), "web", typeOf("tomcat", "webapps"), "webapps"},
		{"no parts", repository("parts: []\n", all...), "web", typeOf("tomcat", "webapps"), "webapps"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := cartridge.Part(tt.release, tt.alias, tt.typ)
			require.NoError(t, err)
			require.Equal(t, tt.want, dir)
		})
	}
}

func TestPartRefused(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown field", "parts:\n- {foldr: a, cartridge: b}\n", `stratos.yaml: line 2, column 4: parts[0].foldr: no such field: did you mean "folder"?`},
		{"unknown top", "part: []\n", `line 1, column 1: part: no such field: did you mean "parts"?`},
		{"no list", "parts: {}\n", "line 1, column 8: parts: found fields: write a list"},
		{"no folder", "parts:\n- {cartridge: tomcat}\n", "line 2, column 4: parts[0]: folder is missing"},
		{"for nobody", "parts:\n- {folder: a}\n", "parts[0]: name either a cartridge or a subscription"},
		{"for two", "parts:\n- {folder: a, cartridge: b, subscription: c}\n", "parts[0]: name either"},
		{"name", "parts:\n- {folder: a, cartridge: B}\n", `parts[0]: cartridge "B" is no name`},
		{"alias", "parts:\n- {folder: a, subscription: B}\n", `parts[0]: subscription "B" is no name`},
		{"twice", "parts:\n- {folder: a, cartridge: b}\n- {folder: a/b, cartridge: b}\n", "line 3, column 4: parts[1]: cartridge b has parts[0] already"},
		{"not there", "parts:\n- {folder: nope, cartridge: b}\n", `parts[0]: folder "nope" is not in the repository`},
		{"a file", "parts:\n- {folder: a/b/c, cartridge: b}\n", `parts[0]: folder "a/b/c": "a/b/c" is no folder`},
		{"outside", "parts:\n- {folder: ../x, cartridge: b}\n", "parts[0]: folder \"../x\" is no path"},
		{"absolute", "parts:\n- {folder: /etc, cartridge: b}\n", "is no path"},
		{"slash at the end", "parts:\n- {folder: a/, cartridge: b}\n", "is no path"},
		{"around", "parts:\n- {folder: a/../a, cartridge: b}\n", "is no path"},
		{"repository", "parts:\n- {folder: a/.GIT, cartridge: b}\n", "is the repository's own"},
		{"nothing for this one", "parts:\n- {folder: a, cartridge: b}\n", "no part is for subscription web or cartridge tomcat: add one"},
		{"large", strings.Repeat("#", 70_000), "more than 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := cartridge.Part(repository(tt.text, "a/b/c"), "web", typeOf("tomcat", ""))
			require.ErrorContains(t, err, tt.want)
		})
	}
	t.Run("broken disk", func(t *testing.T) {
		_, err := cartridge.Part(broken{}, "web", typeOf("tomcat", "webapps"))
		require.ErrorIs(t, err, fs.ErrPermission)
	})
	t.Run("folder of a type", func(t *testing.T) {
		_, err := cartridge.Part(repository(""), "web", typeOf("tomcat", "../x"))
		require.ErrorContains(t, err, "cartridge tomcat: folder: ")
	})
}

// broken is a release on a broken disk.
type broken struct{}

func (broken) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestPartLinks: a release is read by its paths, and a link would lead to what
// is another's.
func TestPartLinks(t *testing.T) {
	for _, tt := range []struct{ name, link, to, text, want string }{
		{"convention", "webapps", "real", "", `folder "webapps": "webapps" is a link`},
		{"part", "x", "real", "parts: [{folder: x, cartridge: tomcat}]", `"x" is a link`},
		{"on the way", "x", ".", "parts: [{folder: x/real, cartridge: tomcat}]", `folder "x/real": "x" is a link`},
		{"out of the release", "x", "/", "parts: [{folder: x, cartridge: tomcat}]", `"x" is a link`},
		{"the file", cartridge.PartsFile, "real/stratos.yaml", "", "stratos.yaml: is a link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
			require.NoError(t, os.Symlink(tt.to, filepath.Join(dir, tt.link)))
			if tt.text != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, cartridge.PartsFile), []byte(tt.text), 0o600))
			}
			root, err := os.OpenRoot(dir)
			require.NoError(t, err)
			defer root.Close()
			_, err = cartridge.Part(root.FS(), "web", typeOf("tomcat", "webapps"))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// FuzzPart: whatever is written, the part is a folder of the release.
func FuzzPart(f *testing.F) {
	f.Add([]byte(both), "a", "b")
	f.Add([]byte("parts: [{folder: a, subscription: a}]"), "a", "..")
	f.Add([]byte(`{"parts":[{"folder":"a/../b","cartridge":"tomcat"}]}`), "a", "a/b")
	f.Fuzz(func(t *testing.T, text []byte, alias, folder string) {
		release := repository(string(text), "a/b/c", "webapps/x")
		dir, err := cartridge.Part(release, alias, typeOf("tomcat", folder))
		if err != nil {
			return
		}
		info, err := fs.Stat(release, dir)
		require.NoError(t, err)
		require.True(t, info.IsDir())
	})
}

func ExamplePart() {
	release := fstest.MapFS{
		"webapps/shop.war": {}, "sql/shop.sql": {},
		"stratos.yaml": {Data: []byte("parts:\n- {folder: webapps, cartridge: tomcat}\n- {folder: sql, subscription: db}\n")},
	}
	fmt.Println(cartridge.Part(release, "web", typeOf("tomcat", "")))
	fmt.Println(cartridge.Part(release, "db", typeOf("mysql", "")))
	// Output:
	// webapps <nil>
	// sql <nil>
}
