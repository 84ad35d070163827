package cartridgetest

import (
	"io/fs"
	"maps"
	"os"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// The promises about plans.

func nameIsValid(t *testing.T, typ cartridge.Type, c Case) {
	require.True(t, cartridge.ValidName(typ.Name()), "name %q", typ.Name())
	require.Equal(t, typ.Name(), plan(t, typ, c).Cartridge, "the plan's cartridge is the type's name")
}

func planChecks(t *testing.T, typ cartridge.Type, c Case) {
	require.NoError(t, plan(t, typ, c).Check())
}

func planSurvivesJSON(t *testing.T, typ cartridge.Type, c Case) {
	p := plan(t, typ, c)
	b, err := p.Encode()
	require.NoError(t, err)
	back, err := cartridge.DecodePlan(b)
	require.NoError(t, err)
	again, err := back.Encode()
	require.NoError(t, err)
	require.Equal(t, string(b), string(again))
}

// planIsDeterministic asks several times, also at once, as the control plane
// does: map order and shared state would show.
func planIsDeterministic(t *testing.T, typ cartridge.Type, c Case) {
	want := encoded(t, plan(t, typ, c))
	got := make([]cartridge.Plan, 16)
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i], errs[i] = typ.Plan(c.input()) })
	}
	wg.Wait()
	for i := range got {
		require.NoError(t, errs[i])
		require.Equal(t, want, encoded(t, got[i]))
	}
}

// readsOnlyInput plans again where everything around the type is different.
func readsOnlyInput(t *testing.T, typ cartridge.Type, c Case) {
	want := encoded(t, plan(t, typ, c))
	t.Chdir(t.TempDir())
	for _, k := range []string{"PATH", "HOME", "USER", "LANG", "TMPDIR", "PORT"} {
		t.Setenv(k, "/nonexistent")
	}
	require.Equal(t, want, encoded(t, plan(t, typ, c)))
}

func leavesInputAlone(t *testing.T, typ cartridge.Type, c Case) {
	in := c.input()
	before := contents(t, in.Release)
	p, err := typ.Plan(in)
	require.NoError(t, err)
	require.Equal(t, c.Settings, in.Settings)
	require.Equal(t, c.Env, in.Env)
	require.Equal(t, before, contents(t, in.Release))
	for i := range p.Processes {
		if p.Processes[i].Env != nil {
			p.Processes[i].Env["ADDED"] = "later"
		}
	}
	require.NotContains(t, in.Env, "ADDED", "the plan shares the input's map")
}

// userEnvIsLiteral: what tenants write is data; a template in it would read
// the paths and ports of the instance, or break the plan.
func userEnvIsLiteral(t *testing.T, typ cartridge.Type, c Case) {
	const name = "CARTRIDGETEST_LITERAL"
	for _, value := range []string{`{{.Dir}}`, `{{port "nope"}}`, `{`, `{{`, `}}{{{"{"}}`, `a"b'c$d\e %s` + "\n"} {
		c.Env = maps.Clone(c.Env)
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env[name] = value
		p := plan(t, typ, c)
		require.NoError(t, p.Check(), "with %q in the environment", value)
		ports := map[string]int{}
		for _, port := range p.Ports {
			ports[port.Name] = 1
		}
		v := cartridge.Vars{Ports: ports, Release: "/r", Dir: "/d", Data: "/v", Volumes: map[string]string{}, Secrets: map[string]string{}}
		for _, volume := range p.Volumes {
			v.Volumes[volume.Name] = "/w/" + volume.Name
		}
		for _, secret := range p.Secrets {
			v.Secrets[secret] = "s"
		}
		full, err := p.Expand(v)
		require.NoError(t, err)
		found := c.NoEnv
		for _, pr := range full.Processes {
			if got, ok := pr.Env[name]; ok {
				require.Equal(t, value, got, "in process %s", pr.Name)
				found = true
			}
		}
		require.True(t, found, "no process is given the subscription's environment")
	}
}

// badReleaseIsNoPanic: an empty release, and one that cannot be read, are
// refused with words, or planned without looking at them.
func badReleaseIsNoPanic(t *testing.T, typ cartridge.Type, c Case) {
	for name, release := range map[string]fs.FS{"empty": fstest.MapFS{}, "unreadable": unreadable{}} {
		in := c.input()
		in.Release = release
		p, err := typ.Plan(in)
		if err == nil {
			err = p.Check()
			require.NoError(t, err, "the plan of an %s release", name)
			continue
		}
		require.NotEmpty(t, err.Error(), "the refusal of an %s release", name)
	}
}

// unreadable is a release on a broken disk.
type unreadable struct{}

func (unreadable) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: os.ErrPermission}
}

func plan(t testing.TB, typ cartridge.Type, c Case) cartridge.Plan {
	t.Helper()
	p, err := typ.Plan(c.input())
	require.NoError(t, err)
	return p
}

func encoded(t testing.TB, p cartridge.Plan) string {
	t.Helper()
	b, err := p.Encode()
	require.NoError(t, err)
	return string(b)
}

func contents(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	m := map[string]string{}
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		m[name] = string(b)
		return err
	}))
	return m
}
