package cartridge_test

import (
	"fmt"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

var vars = cartridge.Vars{Ports: map[string]int{"http": 20001, "admin": 20002}, Release: "/rel", Dir: "/dir", Data: "/data"}

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ name, text, want, err string }{
		{"plain", "a } b { c", "a } b { c", ""},
		{"empty", "", "", ""},
		{"port", `x:{{port "http"}}/{{ port "admin" }}`, "x:20001/20002", ""},
		{"raw string", "{{port `http`}}", "20001", ""},
		{"folders", "{{.Release}} {{.Dir}}{{.Data}}", "/rel /dir/data", ""},
		{"string", `{{"{"}}{{"{"}}x}}`, "{{x}}", ""},
		{"missing port", `{{port "x"}}`, "", `no port "x": the plan's ports are [admin http]`},
		{"port without a name", `{{port}}`, "", "no placeholder {{port}}"},
		{"port of two", `{{port "http" "admin"}}`, "", "no placeholder"},
		{"joined", `{{port"http"}}`, "", "no placeholder"},
		{"unknown field", `{{.Ports}}`, "", "no placeholder {{.Ports}}"},
		{"function", `{{printf "%999999999d" 1}}`, "", "no placeholder"},
		{"loop", `{{range 1000000000}}x{{end}}`, "", "no placeholder"},
		{"trimmed", `{{- .Dir -}}`, "", "no placeholder"},
		{"open", "a {{.Dir", "", "has no end"},
		{"end in a string", `{{"}}"}}`, "", "no placeholder"},
		{"nothing", "{{}}", "", "no placeholder"},
		{"long", "{{" + strings.Repeat("x", 10_000) + "}}", "", "xxx..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cartridge.Expand(tt.text, vars)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Less(t, len(err.Error()), 300)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestExpandNeedsTheFolder(t *testing.T) {
	_, err := cartridge.Expand("{{.Data}}", cartridge.Vars{Dir: "/d"})
	require.ErrorContains(t, err, "{{.Data}} has no folder")
}

func TestPlanExpand(t *testing.T) {
	p, err := whole().Expand(vars)
	require.NoError(t, err)
	require.Equal(t, "listen 20001", p.Files[0].Content)
	require.Equal(t, []string{"server", "-c", "/dir/conf"}, p.Processes[0].Args)
	require.Equal(t, "/data", p.Processes[0].Dir)
	require.Equal(t, "20002", p.Processes[0].Env["A"])
	require.Equal(t, "/rel", p.Processes[1].Dir, "the default")

	_, err = whole().Expand(cartridge.Vars{Ports: map[string]int{"http": 1}, Release: "/r", Dir: "/d", Data: "/v"})
	require.ErrorContains(t, err, `processes[0].env[A]: no port "admin"`)
}

// FuzzExpand: what Expand accepts, text/template reads in the same way.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{`{{port "http"}}`, "{{.Dir}}{{`x`}}", `{{"{"}}`, "{{{", "}}{{ .Data }}", "{{/* c */}}", "{{\n.Dir\t}}", `{{"a\n"}}`, "{{`\r`}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := cartridge.Expand(text, vars)
		if err != nil {
			return
		}
		tmpl, err := template.New("").Funcs(template.FuncMap{"port": func(n string) int { return vars.Ports[n] }}).Parse(text)
		require.NoError(t, err)
		var want strings.Builder
		require.NoError(t, tmpl.Execute(&want, vars))
		require.Equal(t, want.String(), got)
	})
}

// FuzzLiteral: data stays data, whatever stands around it.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"{{.Dir}}", "{", "{{", "}}", `{{"{"}}`, "\x00\xff{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := cartridge.Expand(cartridge.Literal(s)+"{{.Dir}}"+cartridge.Literal(s), vars)
		require.NoError(t, err)
		require.Equal(t, s+"/dir"+s, got)
	})
}

func ExampleExpand() {
	command := `echo "{{not a template}}"` // what a tenant wrote
	text, err := cartridge.Expand(`{{.Dir}}/run --port {{port "http"}} `+cartridge.Literal(command), cartridge.Vars{
		Ports: map[string]int{"http": 20001}, Dir: "/run/7",
	})
	fmt.Println(text, err)
	// Output: /run/7/run --port 20001 echo "{{not a template}}" <nil>
}
