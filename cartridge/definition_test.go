package cartridge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// redisText is a definition with every field.
const redisText = `# an in-memory store
name: redis
description: an in-memory store
version: "7.0"
folder: redis/scripts
settings:
  memory:
    description: the most memory
    default: 64mb
    pattern: "[0-9]+mb"
  banner: {}
  user: {required: true}
plan:
  build:
  - args: [make, all]
    env: {A: "1"}
    package: make
  programs: [{names: [redis-server, valkey-server], package: redis-server}]
  ports:
  - {name: redis, protocol: tcp}
  dirs: [conf]
  dataDirs: [db]
  files:
  - path: conf/redis.conf
    mode: 0640
    content: |
      port {{port "redis"}}
      maxmemory {{setting "memory"}}
      # {{ setting ` + "`banner`" + ` }}
  processes:
  - name: redis
    args: [redis-server, "{{.Dir}}/conf/redis.conf"]
    dir: "{{.Data}}/db"
    env: {USER: '{{setting "user"}}'}
  health: {kind: tcp, port: redis, start: 10s, timeout: 1.5s, every: 1m}
  stop: {signal: INT, grace: 2s}
`

func redis(t testing.TB) cartridge.Definition {
	t.Helper()
	d, err := cartridge.DecodeDefinition([]byte(redisText))
	require.NoError(t, err)
	return d
}

func TestDefinition(t *testing.T) {
	require.Equal(t, cartridge.Definition{
		Name: "redis", Description: "an in-memory store", Version: "7.0", Folder: "redis/scripts",
		Settings: map[string]cartridge.Setting{
			"memory": {Description: "the most memory", Default: "64mb", Pattern: "[0-9]+mb"},
			"banner": {}, "user": {Required: true},
		},
		Plan: cartridge.Plan{
			Build:    []cartridge.Command{{Args: []string{"make", "all"}, Env: map[string]string{"A": "1"}, Package: "make"}},
			Programs: []cartridge.Program{{Names: []string{"redis-server", "valkey-server"}, Package: "redis-server"}},
			Ports:    []cartridge.Port{{Name: "redis", Protocol: "tcp"}},
			Dirs:     []string{"conf"}, DataDirs: []string{"db"},
			Files: []cartridge.File{{Path: "conf/redis.conf", Mode: 0o640, Content: "port {{port \"redis\"}}\nmaxmemory {{setting \"memory\"}}\n# {{ setting `banner` }}\n"}},
			Processes: []cartridge.Process{{
				Name: "redis", Args: []string{"redis-server", "{{.Dir}}/conf/redis.conf"}, Dir: "{{.Data}}/db",
				Env: map[string]string{"USER": `{{setting "user"}}`},
			}},
			Health: cartridge.Health{Kind: cartridge.HealthTCP, Port: "redis", Start: 10 * time.Second, Timeout: 1500 * time.Millisecond, Every: time.Minute},
			Stop:   cartridge.Stop{Signal: "INT", Grace: 2 * time.Second},
		},
	}, redis(t))
}

func TestDefinitionEncode(t *testing.T) {
	b, err := redis(t).Encode()
	require.NoError(t, err)
	require.Contains(t, string(b), `"mode":"0640"`)
	require.Contains(t, string(b), `"timeout":"1.5s"`)
	back, err := cartridge.DecodeDefinition(b)
	require.NoError(t, err)
	require.Equal(t, redis(t), back)
	again, err := back.Encode()
	require.NoError(t, err)
	require.Equal(t, string(b), string(again))

	_, err = cartridge.Definition{}.Encode()
	require.ErrorContains(t, err, "name: is missing")
	var e *cartridge.FieldError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "name", e.Field)
}

func TestDefinitionType(t *testing.T) {
	d := redis(t)
	typ := d.Type()
	d.Plan.Files[0].Content, d.Settings["memory"] = "changed", cartridge.Setting{}
	require.Equal(t, "redis", typ.Name())
	require.Equal(t, "redis/scripts", typ.(cartridge.Foldered).Folder())

	in := cartridge.Input{
		Release:  fstest.MapFS{},
		Settings: map[string]string{"user": `{{.Dir}}{`, "banner": "a {{port \"x\"}} b"},
		Env:      map[string]string{"TOKEN": "{{x}}"},
	}
	p, err := typ.Plan(in)
	require.NoError(t, err)
	require.Equal(t, "redis", p.Cartridge)
	full, err := p.Expand(cartridge.Vars{Ports: map[string]int{"redis": 7}, Release: "/r", Dir: "/d", Data: "/v"})
	require.NoError(t, err)
	require.Equal(t, "port 7\nmaxmemory 64mb\n# a {{port \"x\"}} b\n", full.Files[0].Content)
	require.Equal(t, map[string]string{"USER": "{{.Dir}}{", "TOKEN": "{{x}}"}, full.Processes[0].Env)

	for _, tt := range []struct {
		name     string
		settings map[string]string
		env      map[string]string
		want     string
	}{
		{"unknown", map[string]string{"user": "a", "memroy": "1"}, nil, "setting memroy: redis knows banner, memory, user"},
		{"missing", nil, nil, "setting user: is required: choose a value"},
		{"pattern", map[string]string{"user": "a", "memory": "64mb # x"}, nil, `setting memory: "64mb # x" does not match [0-9]+mb: it is the most memory`},
		{"pattern at the end", map[string]string{"user": "a", "memory": "64mb\n"}, nil, "setting memory"},
		{"large", map[string]string{"user": strings.Repeat("x", 5000)}, nil, "setting user: it is longer than 4096 bytes"},
		{"no text", map[string]string{"user": "\xff"}, nil, "setting user"},
		{"all of it", map[string]string{"memory": "1"}, nil, "setting memory"},
		{"port", map[string]string{"user": "a"}, map[string]string{"PORT": "1"}, "env PORT"},
		{"variable", map[string]string{"user": "a"}, map[string]string{"A=": "1"}, "no name of a variable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := typ.Plan(cartridge.Input{Settings: tt.settings, Env: tt.env})
			require.ErrorContains(t, err, tt.want)
		})
	}

	_, err = cartridge.Definition{}.Type().Plan(cartridge.Input{})
	require.Error(t, err, "what was never checked is an error, no panic")
	_, err = cartridge.Definition{Name: "a", Settings: map[string]cartridge.Setting{"a": {Pattern: "("}}}.Type().Plan(cartridge.Input{Settings: map[string]string{"a": "b"}})
	require.ErrorContains(t, err, "RE2")
}

// change returns redisText with one thing replaced.
func change(t *testing.T, old, text string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(redisText, old), "%q", old)
	return strings.Replace(redisText, old, text, 1)
}

func TestDefinitionRefused(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "name: is missing"},
		{"a list", "- a\n", "line 1, column 1: found a list: write fields"},
		{"no YAML", "name: [a\n", "line 1, column 7: not YAML: "},
		{"no text", "name: \xff", "not UTF-8"},
		{"documents", "name: a\n---\nname: b\n", "more than one document"},
		{"large", strings.Repeat("# long\n", 10_000), "more than 65536"},
		{"unknown field", change(t, "\nplan:\n", "\nplna:\n"), `line 13, column 1: plna: no such field: did you mean "plan"?`},
		{"unknown field in the plan", change(t, "  processes:", "  proceses:"), `line 30, column 3: plan.proceses: no such field: did you mean "processes"?`},
		{"another name altogether", change(t, "  dirs:", "  xyz:"), "line 21, column 3: plan.xyz: no such field: there are build, dataDirs,"},
		{"other capitals", change(t, "  dirs:", "  Dirs:"), `plan.Dirs: no such field: did you mean "dirs"?`},
		{"version of the plan", change(t, "  dirs: [conf]", "  v: 1"), "line 21, column 3: plan.v: no such field"},
		{"name in the plan", change(t, "  dirs: [conf]", "  cartridge: x"), "plan.cartridge: no such field"},
		{"unknown field in a list", change(t, "protocol: tcp", "protocl: tcp"), `line 20, column 19: plan.ports[0].protocl: no such field: did you mean "protocol"?`},
		{"doubled field", change(t, "version: \"7.0\"\n", "name: x\n"), "line 4, column 1: name: is there twice"},
		{"doubled setting", change(t, "  banner: {}\n", "  memory: {}\n"), "line 11, column 3: settings[memory]: is there twice"},
		{"doubled variable", change(t, `{A: "1"}`, `{A: "1", A: "2"}`), "plan.build[0].env[A]: is there twice"},
		{"number", change(t, `"7.0"`, "7.0"), "line 4, column 10: version: found a number: write text, in quotes"},
		{"number among arguments", change(t, "[make, all]", "[make, 1]"), "line 15, column 18: plan.build[0].args[1]: found a number"},
		{"text for a list", change(t, "  dirs: [conf]", "  dirs: conf"), "plan.dirs: found text: write a list"},
		{"list for fields", change(t, "  stop: {signal: INT, grace: 2s}", "  stop: []"), "plan.stop: found a list: write fields"},
		{"empty field", change(t, "  dirs: [conf]", "  dirs:"), "plan.dirs: it is empty: write a list"},
		{"true", change(t, "required: true", "required: \"yes\""), "settings[user].required: found text: write true or false"},
		{"time without a unit", change(t, "start: 10s", "start: 10"), "line 35, column 43: plan.health.start: not a time span"},
		{"mode without a zero", change(t, "mode: 0640", "mode: 640"), `plan.files[0].mode: no permissions of a file: write for example "0644"`},
		{"mode", change(t, "mode: 0640", "mode: 04755"), "plan.files[0].mode: 4755 has more than the nine bits"},
		{"anchor", change(t, "name: redis\ndesc", "name: &a redis\ndesc"), "line 2, column 7: anchors, aliases and merge keys"},
		{"alias", change(t, "[make, all]", "[make, *all]"), "anchors, aliases and merge keys"},
		{"merge", change(t, `{A: "1"}`, `{<<: {A: "1"}}`), "anchors, aliases and merge keys"},
		{"tag", change(t, "[make, all]", "[make, !!str 1]"), "tags are not taken"},
		{"binary", change(t, "[make, all]", "[make, !!binary aGk=]"), "tags are not taken"},
		{"a number as a name", change(t, `{A: "1"}`, `{1: "1"}`), "put it in quotes"},
		{"deep", "plan: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "more than 16 levels"},
		{"name", change(t, "name: redis\ndesc", "name: Redis\ndesc"), `line 2, column 1: name: "Redis" is no name`},
		{"no name", change(t, "name: redis\ndesc", "desc"), "name: is missing"},
		{"folder", change(t, "redis/scripts", "../x"), "line 5, column 1: folder: "},
		{"no plan", "name: a\n", "plan.ports: there is none"},
		{"no port", change(t, "  - {name: redis, protocol: tcp}", "  []"), "line 19, column 3: plan.ports: there is none"},
		{"port's name", change(t, "{name: redis, protocol", "{name: R, protocol"), "line 20, column 6: plan.ports[0].name: "},
		{"program", change(t, "args: [redis-server,", "args: [redis,"), `line 32, column 12: plan.processes[0].args[0]: "redis" is the first name of none`},
		{"template", change(t, "port {{port \"redis\"}}", "port {{prot}}"), "line 26, column 5: plan.files[0].content (conf/redis.conf): no placeholder {{prot}}"},
		{"port of a template", change(t, "port {{port \"redis\"}}", "port {{port \"http\"}}"), `plan.files[0].content (conf/redis.conf): no port "http": the plan's ports are [redis]`},
		{"open template", change(t, "{{.Dir}}/conf", "{{.Dir/conf"), "plan.processes[0].args[1]: placeholder {{.Dir"},
		{"unknown setting", change(t, `{{setting "user"}}`, `{{setting "usr"}}`), `line 34, column 11: plan.processes[0].env[USER]: no setting "usr": the settings are [banner memory user]`},
		{"setting without a name", change(t, `{{setting "user"}}`, `{{setting}}`), "no placeholder {{setting}}"},
		{"program by a setting", change(t, "args: [redis-server,", "args: ['{{setting \"user\"}}',"), "line 32, column 12: plan.processes[0].args[0]: a setting does not choose the program"},
		{"setting's name", change(t, "  banner: {}", "  Banner: {}"), `settings[Banner]: "Banner" is no name of a setting`},
		{"pattern", change(t, `"[0-9]+mb"`, `"[0-9"`), "line 10, column 5: settings[memory].pattern: no pattern"},
		{"pattern in two halves", change(t, `"[0-9]+mb"`, `"a)|(b"`), "settings[memory].pattern: no pattern"},
		{"huge pattern", change(t, `"[0-9]+mb"`, `"((a{100}){100}){100}"`), "settings[memory].pattern: no pattern"},
		{"default that does not match", change(t, "default: 64mb", "default: 64"), "found a number"},
		{"default in quotes", change(t, "default: 64mb", "default: \"64\""), `line 9, column 5: settings[memory].default: "64" does not match [0-9]+mb`},
		{"required with a default", change(t, "{required: true}", "{required: true, default: x}"), "settings[user].default: what is required has no default"},
		{"signal", change(t, "signal: INT", "signal: KILL"), "line 36, column 10: plan.stop.signal: "},
		{"JSON", "{\n  \"name\": \"a\",\n  \"plna\": {}\n}", `line 3, column 3: plna: no such field: did you mean "plan"?`},
		{"JSON twice", "{\"name\": \"é\", \"name\": \"b\"}", "line 1, column 15: name: is there twice"},
		{"JSON of another type", "{\"name\":\n [1]}", "line 2, column 2: name: found a list: write text"},
		{"deep JSON", `{"plan":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "more than 16 levels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := cartridge.DecodeDefinition([]byte(tt.text))
			require.ErrorContains(t, err, tt.want)
			var e *cartridge.FieldError
			require.ErrorAs(t, err, &e)
		})
	}
}

func TestDefinitionTellsAllErrors(t *testing.T) {
	_, err := cartridge.DecodeDefinition([]byte("plan:\n  a: 1\n  b: 2\nnaem: x\nversion: 1\n"))
	var joined interface{ Unwrap() []error }
	require.True(t, errors.As(err, &joined))
	require.Len(t, joined.Unwrap(), 4)
	for i, line := range strings.Split(err.Error(), "\n") {
		require.True(t, strings.HasPrefix(line, fmt.Sprintf("line %d,", i+2)), line)
	}

	many := "plan: {"
	for i := range 500 {
		many += fmt.Sprintf("x%d: 1, ", i)
	}
	_, err = cartridge.DecodeDefinition([]byte(many + "}"))
	require.ErrorContains(t, err, "and 480 more")
}

// FuzzDefinition: any text is refused with a FieldError, or is a definition
// that survives its JSON and makes plans.
func FuzzDefinition(f *testing.F) {
	f.Add([]byte(redisText))
	b, err := redis(f).Encode()
	require.NoError(f, err)
	f.Add(b)
	for _, s := range []string{
		"", "- a", "a: &x [*x]", "? a", "name: |\n  x", "\"", "{\"a\":1}", "[", "name: a\nplan: {ports: [{name: http}], processes: [{name: a, args: [/a]}]}",
		"a: *a", "<<: {a: b}", "!!map {}", "a:\n - b\n  - c", "'", "\t", "a: >\n\n", "{a: {b: {c: [d]}}}", "---\n...\n---", "a: 0640", "a: .inf", "%YAML 1.1", "\ufeffname: x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := cartridge.DecodeDefinition(text)
		if err != nil {
			var e *cartridge.FieldError
			require.ErrorAs(t, err, &e)
			return
		}
		b, err := d.Encode()
		if err != nil {
			require.ErrorContains(t, err, "more than 65536", "%q", text)
			return
		}
		back, err := cartridge.DecodeDefinition(b)
		require.NoError(t, err)
		require.Equal(t, d, back)
		values := map[string]string{}
		for name, s := range d.Settings {
			if s.Required {
				values[name] = "{{.Dir}}"
			}
		}
		if p, err := d.Type().Plan(cartridge.Input{Settings: values}); err == nil {
			require.NoError(t, p.Check())
		}
	})
}

func ExampleDefinition() {
	_, err := cartridge.DecodeDefinition([]byte("name: redis\nplan:\n  ports: [{name: redis}]\n  proceses: []\n"))
	fmt.Println(err)

	d, err := cartridge.DecodeDefinition([]byte(`
name: redis
settings:
  memory: {description: the most memory, default: 64mb, pattern: "[0-9]+mb"}
plan:
  programs: [{names: [redis-server], package: redis-server}]
  ports: [{name: redis, protocol: tcp}]
  processes:
  - name: redis
    args: [redis-server, --port, '{{port "redis"}}', --maxmemory, '{{setting "memory"}}']
  health: {kind: tcp, port: redis, start: 10s}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = d.Type().Plan(cartridge.Input{Settings: map[string]string{"memory": "lots"}})
	fmt.Println(err)
	// Output:
	// line 4, column 3: plan.proceses: no such field: did you mean "processes"?
	// setting memory: "lots" does not match [0-9]+mb: it is the most memory
}
