package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/cartridge/php"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cartridge/tomcat"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/cmd/stratos/internal/config"
	"github.com/gostratos/stratos/tenant"
)

func TestEmptyFileIsAPlatform(t *testing.T) {
	for _, text := range []string{"", "---\n", "# nothing\n", "name:\n"} {
		f, err := config.Parse("stratos.yaml", []byte(text))
		require.NoError(t, err, "%q", text)
		c := f.Platform(nil)
		require.Equal(t, "stratos", c.Name)
		require.Equal(t, []cartridge.Type{php.Type{}, tomcat.Type{}, mysql.Type{}, proc.Type{}}, c.Cartridges)
		require.Len(t, c.Accounts, 1)
		require.IsType(t, &local.Driver{}, c.Accounts[0].Driver)
		require.Empty(t, f.Wishes())
	}
}

func TestFile(t *testing.T) {
	f, err := config.Parse("stratos.yaml", []byte(`
name: shop
dir: data
listen: 0.0.0.0:80
api: "[::1]:9000"
domain: apps.example.org
poll: 1m30s
drain: 500ms
cartridges: [proc]
accounts:
  - name: one
    partitions:
      - {name: a, max: 3}
      - {name: b}
  - name: two
    driver: local
policies:
  "": {inFlight: {perMember: 4, window: 2, up: .8, down: 0.1, idleAfter: 1m}}
  plain: {inFlight: {}}
subscriptions:
  - alias: front
    cartridge: proc
    repository: {url: https://git.example.org/front.git, ref: 1.10}
    max: 3
    policy: plain
    settings: {command: ./server}
    env: {VERSION: 1.10, MODE: 0755, YES: yes, EMPTY: }
`))
	require.NoError(t, err)
	c := f.Platform(nil)
	require.Equal(t, []string{"shop", "data", "0.0.0.0:80", "[::1]:9000", "apps.example.org"}, []string{c.Name, c.Dir, c.Listen, c.API, c.Domain})
	require.Equal(t, []time.Duration{90 * time.Second, 500 * time.Millisecond, 0}, []time.Duration{c.Poll, c.Drain, c.Boot})
	require.Equal(t, []cartridge.Type{proc.Type{}}, c.Cartridges)
	require.Equal(t, map[string]autoscale.Policy{
		"":      autoscale.InFlight{PerMember: 4, Window: 2, Up: .8, Down: .1, IdleAfter: time.Minute},
		"plain": autoscale.InFlight{},
	}, c.Policies)
	require.Equal(t, "one", c.Accounts[0].Name)
	require.Equal(t, []cloud.Partition{{Name: "a", Max: 3}, {Name: "b"}}, c.Accounts[0].Partitions)
	require.Equal(t, []tenant.Subscription{{
		V: tenant.Schema, Tenant: tenant.Default, Alias: "front", Cartridge: "proc",
		Repository: tenant.Repository{URL: "https://git.example.org/front.git", Ref: "1.10"},
		Max:        3, Policy: "plain",
		Settings: map[string]string{"command": "./server"},
		Env:      map[string]string{"VERSION": "1.10", "MODE": "0755", "YES": "yes", "EMPTY": ""},
	}}, f.Wishes())
}

func TestRefused(t *testing.T) {
	const sub = "subscriptions:\n- alias: a\n  cartridge: php\n  repository: {url: https://h/p}\n  "
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", "name: x\nlisen: y\n", `f:2:1: lisen: there is no such field, did you mean listen?; "stratos serve --example" shows all there are`},
		{"field of another place", "min: 1\n", "f:1:1: min: there is no such field here, it belongs elsewhere"},
		{"unknown field below", "policies:\n  \"\":\n    inFlight:\n      pers: 3\n", `f:4:7: policies[""].inFlight.pers: there is no such field`},
		{"repeated field", "name: x\nname: y\n", "f:2:1: name: is there twice: remove one"},
		{"repeated variable", sub + "env:\n    A: 1\n    A: 2\n", "f:7:5: subscriptions[0].env.A: is there twice"},
		{"no unit", "poll: 5\n", "f:1:7: poll: not a time span: write a number with its unit"},
		{"no duration", "poll: soon\n", "f:1:7: poll: not a time span"},
		{"a list for a duration", "poll: [5s]\n", "poll: not a time span"},
		{"too short", "interval: 1ms\n", "f:1:1: interval: 1ms is too short: write 100ms or more"},
		{"negative duration", "grace: -5s\n", "grace: -5s is too short"},
		{"fraction", sub + "min: 1.5\n", "f:5:8: subscriptions[0].min: not a whole number"},
		{"word for a number", sub + "max: many\n", "subscriptions[0].max: not a whole number"},
		{"huge number", sub + "max: 99999999999\n", "subscriptions[0].max: not a whole number"},
		{"list for text", "name: [a]\n", "f:1:7: name: found a list: write text"},
		{"text for a list", "cartridges: php\n", "f:1:13: cartridges: found text: write a list"},
		{"fields for a list", "subscriptions: {}\n", "subscriptions: found fields"},
		{"no fields at all", "- a\n", `f:1:1: found a list: write fields, as in "name: value"`},
		{"broken", "name: [a\n", "f:1:7: not YAML: "},
		{"tab", "name:\n\t- x\n", "f:2:1: not YAML: "},
		{"anchor", "name: &a x\n", "f:1:7: anchors, aliases and merge keys are not allowed"},
		{"tag", "name: !!int x\n", "f:1:7: tags are not allowed"},
		{"documents", "name: a\n---\nname: b\n", "f: more than one document"},
		{"not text", "name: \xff\n", "f: not UTF-8 text"},
		{"name", "name: A_b\n", `f:1:1: name: name "A_b" is invalid`},
		{"listen", "listen: x\n", `f:1:1: listen: "x" is no address: write host:port`},
		{"port", "listen: 127.0.0.1:0\n", "has no usable port: write a number from 1 to 65535"},
		{"API on every address", "api: 0.0.0.0:8080\n", "f:1:1: api: 0.0.0.0:8080 is every address of this machine: say with url where others reach it"},
		{"API without a host", "api: :8080\n", "f:1:1: api: :8080 is every address of this machine"},
		{"domain", "domain: a..b\n", "f:1:1: domain: part of the domain"},
		{"cartridge", "cartridges: [php, perl]\n", `f:1:19: cartridges[1]: there is no cartridge "perl": write one of php, tomcat, mysql, proc`},
		{"cartridge twice", "cartridges: [php, php]\n", `cartridges[1]: "php" is there twice`},
		{"driver", "accounts:\n- name: a\n  driver: ec2\n", `f:3:3: accounts[0].driver: there is no driver "ec2": write local`},
		{"account twice", "accounts:\n- name: a\n- name: a\n", `f:3:3: accounts[1].name: another account is named "a"`},
		{"account without a name", "accounts:\n- driver: local\n", `f:2:3: accounts[0].name: name "" is invalid`},
		{"partition twice", "accounts:\n- name: a\n  partitions:\n  - name: b\n  - name: b\n", `f:5:5: accounts[0].partitions[1].name: another partition`},
		{"partition's limit", "accounts:\n- name: a\n  partitions:\n  - name: b\n    max: -1\n", `f:5:5: accounts[0].partitions[0].max: -1 is negative`},
		{"no kind of policy", "policies:\n  \"\": {}\n", `f:2:3: policies[""]: no kind of policy: write "inFlight: {}"`},
		{"swinging policy", "policies:\n  a: {inFlight: {up: .2}}\n", "f:2:7: policies.a.inFlight: in-flight policy: Down 0.5 and Up 0.2"},
		{"not a number", "policies:\n  a: {inFlight: {perMember: .nan}}\n", "policies.a.inFlight: "},
		{"policy's name", "policies:\n  A b: {inFlight: {}}\n", `policies["A b"]: name "A b" is invalid`},
		{"no alias", "subscriptions:\n- cartridge: php\n  repository: {url: https://h/p}\n", `subscriptions[0].alias: alias "" is invalid`},
		{"alias twice", sub + "min: 1\n- alias: a\n  cartridge: php\n  repository: {url: https://h/p}\n", `f:6:3: subscriptions[1].alias: another subscription of tenant default has the alias "a"`},
		{"no cartridge", "subscriptions:\n- alias: a\n  repository: {url: https://h/p}\n", "f:2:3: subscriptions[0].cartridge: is missing: write one of php, tomcat, mysql, proc"},
		{"cartridge that is not there", "cartridges: [proc]\n" + sub + "min: 1\n", `subscriptions[0].cartridge: this platform has no cartridge "php": write one of proc`},
		{"local folder", "subscriptions:\n- alias: a\n  cartridge: php\n  repository: {url: /srv/git}\n", "f:4:16: subscriptions[0].repository.url: repository URL is not allowed"},
		{"what Go programs may pass", "subscriptions:\n- alias: a\n  cartridge: php\n  repository: {url: \"dir:/srv/git\"}\n", "repository URL is not allowed"},
		{"policy that is not there", sub + "policy: x\n", `f:5:3: subscriptions[0].policy: there is no policy "x"`},
		{"bounds", sub + "min: 3\n  max: 2\n", "f:6:3: subscriptions[0].max: 3 to 2 members are impossible"},
		{"tenant", sub + "tenant: A\n", `f:5:3: subscriptions[0].tenant: tenant "A" is invalid`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(c.text))
			require.ErrorContains(t, err, c.want)
			var placed *config.Error
			require.ErrorAs(t, err, &placed)
			require.Equal(t, "f", placed.File)
			require.Equal(t, 1, strings.Count(err.Error(), "\n")+1, "one mistake, one error: %v", err)
		})
	}
}

func TestAllMistakesAtOnceInTheirOrder(t *testing.T) {
	_, err := config.Parse("f", []byte("accounts:\n- name: A\ndomain: A\nname: A\n"))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 3)
	for i, begin := range []string{"f:2:3: accounts[0].name: ", "f:3:1: domain: ", "f:4:1: name: "} {
		require.True(t, strings.HasPrefix(lines[i], begin), lines[i])
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	const head = "subscriptions:\n- alias: a\n  cartridge: php\n  repository: {url: https://h/p}\n  env:\n    PASSWORD: "
	for _, c := range []struct{ name, text string }{
		{"a list", head + "[hunter2]\n"},
		{"fields", head + "{hunter2: 1}\n"},
		{"an open quote", head + "\"hunter2\n"},
		{"a colon", head + "hunter2: 5\n"},
		{"an error nearby", head + "hunter2\n    PASSWORD: hunter2\n"},
		{"an alias", head + "*hunter2\n"},
		{"a tag", head + "!hunter2\n"},
		{"in the URL", "subscriptions:\n- alias: a\n  cartridge: php\n  repository: {url: https://u:hunter2@h/p}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(c.text))
			require.Error(t, err)
			require.NotContains(t, strings.ReplaceAll(err.Error(), "env.PASSWORD.hunter2", ""), "hunter2")
		})
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stratos.yaml")
	_, err := config.Load(path)
	require.ErrorContains(t, err, `"stratos serve --example > `+path+`"`)

	require.NoError(t, os.WriteFile(path, []byte("name: x\n"), 0o600))
	f, err := config.Load(path)
	require.NoError(t, err)
	require.Equal(t, "x", f.Name)

	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("# long\n", 1<<18)), 0o600))
	_, err = config.Load(path)
	require.ErrorContains(t, err, "this is no configuration")
}

func FuzzConfig(f *testing.F) {
	example, err := os.ReadFile("../../example.yaml")
	require.NoError(f, err)
	f.Add(example)
	for _, s := range []string{"", "name: x", "- a", "a: {b: [c", "policies: {\"\": {inFlight: {up: .nan}}}", "&a [*a]", "? a", "name: |\n  x", "\"", "poll: 5s\n---\n", "subscriptions: [{env: {A: 1.10}}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := config.Parse("f", data)
		if err != nil {
			var placed *config.Error
			if !errors.As(err, &placed) || file != nil {
				t.Fatalf("not one of ours: %v", err)
			}
			return
		}
		if c := file.Platform(nil); c.Name == "" || len(c.Cartridges) == 0 || len(c.Accounts) == 0 {
			t.Fatalf("accepted, but no platform: %+v", c)
		}
		for _, w := range file.Wishes() {
			if err := w.Check(); err != nil {
				t.Fatalf("accepted, but impossible: %v", err)
			}
		}
	})
}
