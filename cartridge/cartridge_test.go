package cartridge_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// whole is a plan with every field set.
func whole() cartridge.Plan {
	return cartridge.Plan{
		V: cartridge.PlanVersion, Cartridge: "demo",
		Build:    []cartridge.Command{{Args: []string{"make"}, Env: map[string]string{"A": "1"}, Package: "make"}},
		Programs: []cartridge.Program{{Names: []string{"server", "server2"}, Package: "server"}},
		Ports:    []cartridge.Port{{Name: "http"}, {Name: "admin", Protocol: "tcp"}},
		Dirs:     []string{"tmp", "a/b"}, DataDirs: []string{"db"},
		Files: []cartridge.File{{Path: "conf", Content: `listen {{port "http"}}`, Mode: 0o644}},
		Processes: []cartridge.Process{
			{Name: "web", Args: []string{"server", "-c", "{{.Dir}}/conf"}, Dir: "{{.Data}}", Env: map[string]string{"A": `{{port "admin"}}`}},
			{Name: "worker", Args: []string{"{{.Release}}/worker"}},
		},
		Health: cartridge.Health{Kind: "http", Port: "http", Path: "/up", Start: time.Second, Timeout: time.Second, Every: time.Second},
		Stop:   cartridge.Stop{Signal: "INT", Grace: time.Second},
	}
}

func TestCheck(t *testing.T) {
	require.NoError(t, whole().Check())
	for _, tt := range []struct {
		name   string
		change func(*cartridge.Plan)
		want   string
	}{
		{"version", func(p *cartridge.Plan) { p.V = 2 }, "v: 2, want 1"},
		{"no name", func(p *cartridge.Plan) { p.Cartridge = "" }, "cartridge:"},
		{"capital name", func(p *cartridge.Plan) { p.Cartridge = "Demo" }, "cartridge:"},
		{"empty build", func(p *cartridge.Plan) { p.Build[0].Args = nil }, "build[0].args: names no program"},
		{"build's variable", func(p *cartridge.Plan) { p.Build[0].Env = map[string]string{"A=": ""} }, "build[0].env"},
		{"program without names", func(p *cartridge.Plan) { p.Programs[0].Names = nil }, "programs[0].names: is empty"},
		{"program with a path", func(p *cartridge.Plan) { p.Programs[0].Names[0] = "/bin/x" }, "programs[0].names"},
		{"program twice", func(p *cartridge.Plan) { p.Programs = append(p.Programs, p.Programs[0]) }, "programs[1].names"},
		{"port's name", func(p *cartridge.Plan) { p.Ports[1].Name = "a b" }, "ports[1].name"},
		{"port twice", func(p *cartridge.Plan) { p.Ports[1].Name = "http" }, "ports[1].name"},
		{"protocol", func(p *cartridge.Plan) { p.Ports[1].Protocol = "udp" }, "ports[1].protocol"},
		{"folder that leaves", func(p *cartridge.Plan) { p.Dirs[1] = "../x" }, "dirs[1]"},
		{"absolute data folder", func(p *cartridge.Plan) { p.DataDirs[0] = "/x" }, "dataDirs[0]"},
		{"file that leaves", func(p *cartridge.Plan) { p.Files[0].Path = "a/../../x" }, "files[0].path"},
		{"file that is no file", func(p *cartridge.Plan) { p.Files[0].Path = "." }, "files[0].path"},
		{"file that is a folder", func(p *cartridge.Plan) { p.Files[0].Path = "tmp" }, "files[0].path"},
		{"file twice", func(p *cartridge.Plan) { p.Files = append(p.Files, p.Files[0]) }, "files[1].path"},
		{"setuid file", func(p *cartridge.Plan) { p.Files[0].Mode = 0o4755 }, "files[0].mode"},
		{"large file", func(p *cartridge.Plan) { p.Files[0].Content = strings.Repeat("x", cartridge.MaxPlan+1) }, "files: hold"},
		{"file not UTF-8", func(p *cartridge.Plan) { p.Files[0].Content = "\xff" }, "files[0].content"},
		{"file's template", func(p *cartridge.Plan) { p.Files[0].Content = "{{.Nope}}" }, "files[0].content (conf): no placeholder {{.Nope}}"},
		{"no process", func(p *cartridge.Plan) { p.Processes = nil }, "processes: there is none"},
		{"process's name", func(p *cartridge.Plan) { p.Processes[1].Name = "" }, "processes[1].name"},
		{"process twice", func(p *cartridge.Plan) { p.Processes[1].Name = "web" }, "processes[1].name"},
		{"no arguments", func(p *cartridge.Plan) { p.Processes[1].Args = nil }, "processes[1].args"},
		{"unknown program", func(p *cartridge.Plan) { p.Processes[0].Args[0] = "server2" }, `processes[0].args[0]: "server2" is the first name of none`},
		{"NUL in an argument", func(p *cartridge.Plan) { p.Processes[0].Args[1] = "\x00" }, "processes[0].args[1]"},
		{"unknown port", func(p *cartridge.Plan) { p.Processes[0].Args[2] = `{{port "x"}}` }, `processes[0].args[2]: no port "x": the plan's ports are [admin http]`},
		{"dir's template", func(p *cartridge.Plan) { p.Processes[0].Dir = "{{" }, "processes[0].dir"},
		{"env's template", func(p *cartridge.Plan) { p.Processes[0].Env["A"] = "{{if true}}" }, "processes[0].env[A]"},
		{"env's name", func(p *cartridge.Plan) { p.Processes[0].Env = map[string]string{"": "x"} }, "processes[0].env"},
		{"a volume's folder", func(p *cartridge.Plan) { p.Volumes = []cartridge.Volume{{Name: "v", Dirs: []string{"../x"}}} }, "volumes[0].dirs[0]"},
		{"a volume twice", func(p *cartridge.Plan) { p.Volumes = []cartridge.Volume{{Name: "v"}, {Name: "v"}} }, "volumes[1].name"},
		{"a link out of the release", func(p *cartridge.Plan) { linked(p, cartridge.Link{Path: "/x", Volume: "v", Dir: "d"}) }, "links[0].path"},
		{"a link in the place of the release", func(p *cartridge.Plan) { linked(p, cartridge.Link{Path: ".", Volume: "v", Dir: "d"}) }, "links[0].path"},
		{"a link out of the volume", func(p *cartridge.Plan) { linked(p, cartridge.Link{Path: "x", Volume: "v", Dir: "../d"}) }, "links[0].dir"},
		{"a link to no volume", func(p *cartridge.Plan) { linked(p, cartridge.Link{Path: "x", Volume: "w", Dir: "d"}) }, "links[0].volume"},
		{"links below links", func(p *cartridge.Plan) {
			linked(p, cartridge.Link{Path: "x", Volume: "v", Dir: "d"}, cartridge.Link{Path: "x/y", Volume: "v", Dir: "e"})
		}, "links[1].path"},
		{"a secret without a name", func(p *cartridge.Plan) { p.Secrets = []string{""} }, "secrets[0]"},
		{"a secret in arguments", func(p *cartridge.Plan) {
			p.Secrets, p.Processes[0].Args = []string{"s"}, append(p.Processes[0].Args, `{{secret "s"}}`)
		}, "for files, environments and inputs, never for arguments"},
		{"a service without a port", func(p *cartridge.Plan) { p.Service = &cartridge.Service{Scheme: "x", Port: "nowhere"} }, "service.port"},
		{"a backup without a restore", func(p *cartridge.Plan) {
			p.Service = &cartridge.Service{Scheme: "x", Backup: &cartridge.Action{Args: []string{"/bin/true"}}}
		}, "give backup and restore, or neither"},
		{"an action without a program", func(p *cartridge.Plan) { p.Service = &cartridge.Service{Scheme: "x"} }, "service.connect.args"},
		{"a binding outside of an action", func(p *cartridge.Plan) { p.Processes[0].Env = map[string]string{"X": `{{binding "user"}}`} }, "processes[0].env[X]"},
		{"a binding in a backup", func(p *cartridge.Plan) {
			a := &cartridge.Action{Args: []string{"/bin/true"}, Input: `{{binding "user"}}`}
			p.Service = &cartridge.Service{Scheme: "x", Backup: a, Restore: &cartridge.Action{Args: []string{"/bin/true"}}}
		}, "service.backup.input"},
		{"health's kind", func(p *cartridge.Plan) { p.Health.Kind = "icmp" }, "health.kind"},
		{"health's port", func(p *cartridge.Plan) { p.Health.Port = "x" }, `health.port: there is no port "x"`},
		{"health's default port", func(p *cartridge.Plan) { p.Ports[0].Name, p.Health.Port = "x", "" }, `health.port: there is no port "http"`},
		{"health's path", func(p *cartridge.Plan) { p.Health.Path = "up" }, "health.path"},
		{"health's path with a line break", func(p *cartridge.Plan) { p.Health.Path = "/a\r\nX: y" }, "health.path"},
		{"negative time", func(p *cartridge.Plan) { p.Health.Every = -1 }, "health: -1ns"},
		{"signal", func(p *cartridge.Plan) { p.Stop.Signal = "KILL" }, "stop.signal"},
		{"long grace", func(p *cartridge.Plan) { p.Stop.Grace = 25 * time.Hour }, "stop: 25h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := whole()
			tt.change(&p)
			require.ErrorContains(t, p.Check(), tt.want)
			_, err := p.Encode()
			require.Error(t, err)
		})
	}
}

func TestCheckNamesAllThatIsWrong(t *testing.T) {
	p := whole()
	p.V, p.Stop.Signal, p.Files[0].Content = 0, "HUP", "{{x}}"
	err := p.Check()
	require.ErrorContains(t, err, "v:")
	require.ErrorContains(t, err, "stop.signal")
	require.ErrorContains(t, err, "files[0].content")
}

func TestWithDefaults(t *testing.T) {
	p := cartridge.Plan{
		Ports: []cartridge.Port{{Name: "http"}}, Files: []cartridge.File{{Path: "f"}},
		Processes: []cartridge.Process{{Name: "web", Args: []string{"/x"}}},
	}
	d := p.WithDefaults()
	require.Equal(t, "http", d.Ports[0].Protocol)
	require.Equal(t, uint32(0o600), d.Files[0].Mode)
	require.Equal(t, "{{.Release}}", d.Processes[0].Dir)
	require.Equal(t, cartridge.Health{Kind: "http", Port: "http", Path: "/", Start: time.Minute, Timeout: 5 * time.Second, Every: 10 * time.Second}, d.Health)
	require.Equal(t, cartridge.Stop{Signal: "TERM", Grace: 10 * time.Second}, d.Stop)
	require.Empty(t, p.Processes[0].Dir, "the original is left alone")

	require.Equal(t, whole().WithDefaults().Health, whole().Health, "what is set stays")
	p.Health.Kind = cartridge.HealthTCP
	require.Empty(t, p.WithDefaults().Health.Path)
}

func TestWithDefaultsCopies(t *testing.T) {
	p, untouched := whole(), whole()
	d := p.WithDefaults()
	d.Build[0].Args[0], d.Build[0].Env["A"], d.Programs[0].Names[0] = "x", "x", "x"
	d.Ports[0].Name, d.Files[0].Path, d.Dirs[0], d.DataDirs[0] = "x", "x", "x", "x"
	d.Processes[0].Args[0], d.Processes[0].Env["A"] = "x", "x"
	require.Equal(t, untouched, p)
}

func TestPlanJSON(t *testing.T) {
	b, err := whole().Encode()
	require.NoError(t, err)
	p, err := cartridge.DecodePlan(b)
	require.NoError(t, err)
	require.Equal(t, whole(), p)

	for _, tt := range []struct{ name, json, want string }{
		{"nothing", "", "not JSON"},
		{"another version", `{"v":2}`, "version 2, this program reads 1"},
		{"no version", `{}`, "version 0"},
		{"unknown field", strings.Replace(string(b), `"ports"`, `"sudo":true,"ports"`, 1), "sudo"},
		{"more", string(b) + `{}`, "not JSON"},
		{"wrong kind", strings.Replace(string(b), `"demo"`, `1`, 1), "cartridge"},
		{"bad plan", `{"v":1}`, "processes: there is none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := cartridge.DecodePlan([]byte(tt.json))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func FuzzPlanDecode(f *testing.F) {
	b, err := whole().Encode()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"v":1,"cartridge":"a","ports":null,"processes":[{"name":"a","args":["/a"],"dir":"{{"}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := cartridge.DecodePlan(b)
		if err != nil {
			return
		}
		again, err := p.Encode()
		require.NoError(t, err)
		back, err := cartridge.DecodePlan(again)
		require.NoError(t, err)
		twice, err := back.Encode()
		require.NoError(t, err)
		require.Equal(t, string(again), string(twice))
	})
}

// static is a Type in a few lines: it serves the files of a release.
type static struct{}

var _ cartridge.Type = static{}

func (static) Name() string { return "static" }

func (static) Plan(in cartridge.Input) (cartridge.Plan, error) {
	if _, err := fs.Stat(in.Release, "index.html"); err != nil {
		return cartridge.Plan{}, fmt.Errorf("add an index.html: %w", err)
	}
	web := cartridge.Nginx{}
	return cartridge.Plan{
		V: cartridge.PlanVersion, Cartridge: "static",
		Programs:  []cartridge.Program{web.Program()},
		Ports:     []cartridge.Port{{Name: "http"}},
		Dirs:      web.Dirs(),
		Files:     []cartridge.File{web.File()},
		Processes: []cartridge.Process{web.Process()},
		Stop:      cartridge.Stop{Signal: "QUIT"},
	}, nil
}

func ExampleType() {
	p, err := static{}.Plan(cartridge.Input{Release: fstest.MapFS{"index.html": {}}})
	fmt.Println(err, p.Check(), p.Processes[0].Args[0])
	_, err = static{}.Plan(cartridge.Input{Release: fstest.MapFS{}})
	fmt.Println(err)
	// Output:
	// <nil> <nil> nginx
	// add an index.html: open index.html: file does not exist
}

// linked gives a plan a volume, and links into it.
func linked(p *cartridge.Plan, links ...cartridge.Link) {
	p.Volumes, p.Links = []cartridge.Volume{{Name: "v"}}, links
}

// TestDefaultsShareNothing: a copy of a plan can be changed without the plan.
func TestDefaultsShareNothing(t *testing.T) {
	act := func() cartridge.Action {
		return cartridge.Action{Args: []string{"a"}, Env: map[string]string{"e": "1"}, Input: "i"}
	}
	fresh := func() cartridge.Plan {
		b, r := act(), act()
		return cartridge.Plan{
			Volumes: []cartridge.Volume{{Name: "v", Dirs: []string{"d"}}}, Links: []cartridge.Link{{Path: "x"}}, Secrets: []string{"s"},
			Service: &cartridge.Service{Connect: act(), Disconnect: act(), Backup: &b, Restore: &r},
		}
	}
	p := fresh()
	c := p.WithDefaults()
	c.Volumes[0].Dirs[0], c.Volumes[0].Name, c.Links[0].Path, c.Secrets[0] = "", "", "", ""
	for _, a := range []*cartridge.Action{&c.Service.Connect, &c.Service.Disconnect, c.Service.Backup, c.Service.Restore} {
		a.Args[0], a.Input = "", ""
		a.Env["e"] = "2"
	}
	require.Equal(t, fresh(), p)
	require.Equal(t, cartridge.DefaultAction, c.Service.Connect.Timeout)
	require.Equal(t, cartridge.DefaultTransfer, c.Service.Backup.Timeout)
}

func TestActionsAreFilledApart(t *testing.T) {
	v := cartridge.Vars{
		Dir: "/d", Ports: map[string]int{"db": 7}, Volumes: map[string]string{"v": "/w"}, Secrets: map[string]string{"root": "xyz"},
		Binding: &cartridge.Binding{User: "u", Password: "p", Database: "b"},
	}
	a := cartridge.Action{
		Args: []string{"sql", `{{volume "v"}}`, `{{port "db"}}`}, Env: map[string]string{"PW": `{{secret "root"}}`},
		Input: `{{binding "user"}} {{binding "password"}} {{binding "database"}} {{.Dir}}`,
	}
	full, err := a.Expand(v)
	require.NoError(t, err)
	require.Equal(t, cartridge.Action{Args: []string{"sql", "/w", "7"}, Env: map[string]string{"PW": "xyz"}, Input: "u p b /d"}, full)
	require.Equal(t, `{{volume "v"}}`, a.Args[1], "the action is as it was")
	for _, arg := range []string{`{{secret "root"}}`, `{{binding "password"}}`, `{{binding "colour"}}`} {
		_, err := cartridge.Action{Args: []string{"sql", arg}}.Expand(v)
		require.ErrorContains(t, err, "args[1]", arg)
	}
	v.Binding = nil
	_, err = a.Expand(v)
	require.ErrorContains(t, err, "input: no binding")
}
