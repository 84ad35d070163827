package php_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/php"
)

func files(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{}
	}
	return m
}

func TestRoot(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release fstest.MapFS
		root    string
		want    string
	}{
		{"repository", files("index.php"), "", `root "{{.Release}}";`},
		{"public before the repository", files("index.php", "public/index.php"), "", `root "{{.Release}}/public";`},
		{"public without an index", files("index.php", "public/style.css"), "", `root "{{.Release}}";`},
		{"web", files("web/index.php"), "", `root "{{.Release}}/web";`},
		{"static", files("index.html"), "", `root "{{.Release}}";`},
		{"script of another name", files("info.php"), "", `root "{{.Release}}";`},
		{"set", files("index.php", "a/b/x.php"), "a/b/", `root "{{.Release}}/a/b";`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := cartridge.Input{Release: tt.release}
			if tt.root != "" {
				in.Settings = map[string]string{"root": tt.root}
			}
			p, err := php.Type{}.Plan(in)
			require.NoError(t, err)
			require.NoError(t, p.Check())
			require.Contains(t, p.Files[1].Content, tt.want)
		})
	}
}

func TestShared(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release fstest.MapFS
		set     map[string]string
		want    []cartridge.Link
	}{
		{"nothing", files("index.php"), nil, nil},
		{"WordPress", files("index.php", "wp-includes/version.php"), nil, []cartridge.Link{{Path: "wp-content/uploads", Volume: "shared", Dir: "files/wp-content/uploads"}}},
		{"WordPress below", files("web/index.php", "web/wp-includes/version.php"), nil, []cartridge.Link{{Path: "web/wp-content/uploads", Volume: "shared", Dir: "files/wp-content/uploads"}}},
		{"set", files("index.php", "up/.gitkeep"), map[string]string{"shared": " up/ a/b "}, []cartridge.Link{{Path: "up", Volume: "shared", Dir: "files/up"}, {Path: "a/b", Volume: "shared", Dir: "files/a/b"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := php.Type{}.Plan(cartridge.Input{Release: tt.release, Settings: tt.set})
			require.NoError(t, err)
			require.NoError(t, p.Check())
			require.Equal(t, tt.want, p.Links)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release fs.FS
		env     map[string]string
		set     map[string]string
		want    string
	}{
		{"nothing", files("README.md"), nil, nil, "add index.php"},
		{"a folder named index.php", files("index.php/x"), nil, nil, "add index.php"},
		{"root that leaves", files("index.php"), nil, map[string]string{"root": "../x"}, "setting root"},
		{"root with a variable", files("index.php"), nil, map[string]string{"root": "$uri"}, "setting root"},
		{"root that ends the directive", files("index.php"), nil, map[string]string{"root": `x";`}, "setting root"},
		{"root in the repository's own", files("index.php", ".git/x"), nil, map[string]string{"root": ".git"}, "setting root"},
		{"root that is not there", files("index.php"), nil, map[string]string{"root": "www"}, `no folder "www"`},
		{"root that is a file", files("index.php"), nil, map[string]string{"root": "index.php"}, "no folder"},
		{"memory", files("index.php"), nil, map[string]string{"memory_limit": "64M\nuser = x"}, "memory_limit"},
		{"memory without digits", files("index.php"), nil, map[string]string{"memory_limit": "M"}, "memory_limit"},
		{"no children", files("index.php"), nil, map[string]string{"children": "0"}, "children"},
		{"children that are no number", files("index.php"), nil, map[string]string{"children": "8; x"}, "children"},
		{"shared out of the repository", files("index.php"), nil, map[string]string{"shared": "up ../x"}, `setting shared: "../x" is no folder`},
		{"shared, all of it", files("index.php"), nil, map[string]string{"shared": "."}, "setting shared"},
		{"shared, and in the repository", files("index.php", "up/x.png"), nil, map[string]string{"shared": "up"}, "has files in up, which would be hidden"},
		{"shared folders in each other", files("index.php"), nil, map[string]string{"shared": "a a/b"}, "in each other's way"},
		{"unknown setting", files("index.php"), nil, map[string]string{"memory": "1"}, "php knows root"},
		{"port", files("index.php"), map[string]string{"PORT": "80"}, nil, "remove the variable"},
		{"bad variable", files("index.php"), map[string]string{"A=B": "1"}, nil, "no name of a variable"},
		{"broken lock file", fstest.MapFS{"index.php": {}, "composer.lock": {Data: []byte("{")}}, nil, nil, "composer.lock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := php.Type{}.Plan(cartridge.Input{Release: tt.release, Env: tt.env, Settings: tt.set})
			if err == nil {
				err = p.Check()
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestComposer(t *testing.T) {
	lock := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, tt := range []struct {
		name    string
		release fstest.MapFS
		builds  int
	}{
		{"no lock file", files("index.php", "composer.json"), 0},
		{"nothing required", fstest.MapFS{"index.php": {}, "composer.lock": lock(`{"packages":[]}`)}, 0},
		{"required", fstest.MapFS{"index.php": {}, "composer.lock": lock(`{"packages":[{"name":"a/b"}]}`)}, 1},
		{"brought along", fstest.MapFS{"index.php": {}, "vendor/autoload.php": {}, "composer.lock": lock(`{"packages":[{}]}`)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := php.Type{}.Plan(cartridge.Input{Release: tt.release})
			require.NoError(t, err)
			require.Len(t, p.Build, tt.builds)
		})
	}
}

// FuzzSettings: what a tenant writes is refused or harmless; it never changes
// the number of lines, nor the plan's validity.
func FuzzSettings(f *testing.F) {
	f.Add("public", "128M", "8", "x")
	f.Add("../etc", "-1", "0", "{{.Dir}}")
	f.Add("a\n;", "1\n", "+3", "\x00")
	plain, err := php.Type{}.Plan(cartridge.Input{Release: files("index.php")})
	require.NoError(f, err)
	want := map[string]int{}
	for _, file := range plain.Files {
		want[file.Path] = strings.Count(file.Content, "\n")
	}
	f.Fuzz(func(t *testing.T, root, memory, children, env string) {
		release := files("index.php")
		if fs.ValidPath(root) && root != "." {
			release[root+"/index.php"] = &fstest.MapFile{}
		}
		in := cartridge.Input{
			Release:  release,
			Settings: map[string]string{"root": root, "memory_limit": memory, "children": children},
			Env:      map[string]string{"X": env},
		}
		p, err := php.Type{}.Plan(in)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		for _, file := range p.Files {
			require.Equal(t, want[file.Path], strings.Count(file.Content, "\n"), file.Path)
		}
	})
}

func Example() {
	p, err := php.Type{}.Plan(cartridge.Input{
		Release: fstest.MapFS{"public/index.php": {Data: []byte("<?php echo 'hello';")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, pr := range p.Processes {
		fmt.Println(pr.Name, pr.Args[0])
	}
	// Output:
	// php php-fpm
	// nginx nginx
}
