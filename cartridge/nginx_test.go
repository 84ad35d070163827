package cartridge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

func TestCheckRoot(t *testing.T) {
	for _, tt := range []struct {
		name, root string
		ok         bool
	}{
		{"folder", "public", true},
		{"below", "a/b-c_d.e/", true},
		{"itself", ".", true},
		{"hidden output", ".output/public", true},
		{"empty", "", false},
		{"absolute", "/etc", false},
		{"parent", "a/../../b", false},
		{"repository", "x/.git", false},
		{"variable", "$uri", false},
		{"quote", `a"`, false},
		{"space", "a b", false},
		{"template", "{{.Dir}}", false},
		{"line break", "a\nb", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := cartridge.CheckRoot(tt.root)
			if tt.ok {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "setting root")
			}
		})
	}
}

func TestNginxFile(t *testing.T) {
	text := cartridge.Nginx{}.File().Content
	for _, want := range []string{`root "{{.Release}}";`, "index index.html;", "try_files $uri $uri/ =404;", `listen 127.0.0.1:{{port "http"}};`} {
		require.Contains(t, text, want)
	}
	text = cartridge.Nginx{Root: "a/", Index: []string{"x", "y"}, Otherwise: "/z", HTTP: "\tA;\n", Server: "\tB;\n"}.File().Content
	for _, want := range []string{`root "{{.Release}}/a";`, "index x y;", "try_files $uri $uri/ /z;", "\tA;\n", "\tB;\n"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "@")
}

func TestMediaTypes(t *testing.T) {
	types := cartridge.MediaTypes()
	require.Equal(t, "text/html", types["htm"])
	require.Equal(t, "text/javascript", types["mjs"])
	require.Equal(t, "video/ogg", types["ogv"])
	types["htm"] = "changed"
	require.Equal(t, "text/html", cartridge.MediaTypes()["htm"])
}
