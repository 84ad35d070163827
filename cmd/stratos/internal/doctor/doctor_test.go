package doctor_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cmd/stratos/internal/doctor"
	"github.com/gostratos/stratos/internal/confine"
	"github.com/gostratos/stratos/store/bolt"
)

// healthy is a machine where all is well, as far as a test can make one.
func healthy(t *testing.T) *doctor.Doctor {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"git", "php-fpm8.2", "nginx", "python3", "node"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), nil, 0o700))
	}
	return &doctor.Doctor{
		Dir: filepath.Join(t.TempDir(), "data"), Listen: free(t), API: free(t), Path: bin, Abilities: &confine.Abilities{Bubblewrap: "/usr/bin/bwrap"},
		Lookup: func(context.Context, string) ([]string, error) { return []string{"127.0.0.1", "::1"}, nil },
	}
}

// free returns an address that was free a moment ago.
func free(t *testing.T) string {
	lis := listen(t)
	require.NoError(t, lis.Close())
	return lis.Addr().String()
}

func listen(t *testing.T) net.Listener {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return lis
}

// find returns what a check found.
func find(t *testing.T, all []doctor.Finding, check string) doctor.Finding {
	t.Helper()
	for _, f := range all {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no check %q in %+v", check, all)
	return doctor.Finding{}
}

func TestHealthyMachine(t *testing.T) {
	d := healthy(t)
	all := d.Examine(t.Context())
	require.False(t, doctor.Failed(all))
	for _, f := range all {
		switch f.Check {
		case "isolation", "open files", "disk": // this machine's
			continue
		}
		require.Equal(t, doctor.OK, f.Status, "%+v", f)
		require.Empty(t, f.Cure, "%+v", f)
	}
	require.NoDirExists(t, d.Dir, "a look must not make the folder")
	entries, err := os.ReadDir(filepath.Dir(d.Dir))
	require.NoError(t, err)
	require.Empty(t, entries, "a look must leave nothing behind")
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, check string
		change      func(t *testing.T, d *doctor.Doctor)
		status      doctor.Status
		detail      string
		cure        string
	}{
		{"no programs", "php-fpm", func(t *testing.T, d *doctor.Doctor) { d.Path = t.TempDir() }, doctor.Warn, "the cartridge php does not run", "apt-get install --no-install-recommends php-fpm"},
		{"a file that does not run", "nginx", func(t *testing.T, d *doctor.Doctor) {
			require.NoError(t, os.Chmod(filepath.Join(d.Path, "nginx"), 0o600))
		}, doctor.Warn, "not found", "nginx-light"},
		{"no Go", "go", func(*testing.T, *doctor.Doctor) {}, doctor.OK, "not needed", ""},
		{"builds", "builds", func(_ *testing.T, d *doctor.Doctor) { d.Abilities.Group = "/sys/x" }, doctor.OK, "in a control group", ""},
		{"no control group", "builds", func(_ *testing.T, d *doctor.Doctor) { d.Abilities.WhyGroup = "you are not root" }, doctor.OK, "at the lowest priority (you are not root)", ""},
		{"no bubblewrap", "builds", func(_ *testing.T, d *doctor.Doctor) {
			*d.Abilities = confine.Abilities{Why: "it is not installed"}
		}, doctor.Warn, "it is not installed", "install bubblewrap"},
		{"folder is a file", "data folder", func(t *testing.T, d *doctor.Doctor) { require.NoError(t, os.WriteFile(d.Dir, nil, 0o600)) }, doctor.Fail, "is not a folder", "--dir"},
		{"folder below a file", "data folder", func(t *testing.T, d *doctor.Doctor) {
			require.NoError(t, os.WriteFile(d.Dir, nil, 0o600))
			d.Dir = filepath.Join(d.Dir, "data")
		}, doctor.Fail, "not a directory", "--dir"},
		{"folder that takes no files", "data folder", func(_ *testing.T, d *doctor.Doctor) { d.Dir = "/proc" }, doctor.Fail, "/proc", "may write to"},
		{"folder is there", "data folder", func(t *testing.T, d *doctor.Doctor) { require.NoError(t, os.Mkdir(d.Dir, 0o700)) }, doctor.OK, "can be written to", ""},
		{"address taken", "balancer address", func(t *testing.T, d *doctor.Doctor) {
			lis := listen(t)
			t.Cleanup(func() { require.NoError(t, lis.Close()) })
			d.Listen = lis.Addr().String()
		}, doctor.Fail, "in use by another program", "set listen to another address"},
		{"address of others", "API address", func(_ *testing.T, d *doctor.Doctor) { d.API = "192.0.2.1:80" }, doctor.Fail, "192.0.2.1:80", "an address of this machine"},
		{"names do not resolve", "names", func(_ *testing.T, d *doctor.Doctor) {
			d.Lookup = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
		}, doctor.Warn, "*.localhost does not resolve", "curl -H 'Host: alias.localhost'"},
		{"names lead elsewhere", "names", func(_ *testing.T, d *doctor.Doctor) {
			d.Lookup = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
		}, doctor.Warn, "192.0.2.1", "curl"},
		{"own domain elsewhere", "names", func(_ *testing.T, d *doctor.Doctor) {
			d.Domain = "apps.example.org"
			d.Lookup = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
		}, doctor.OK, "*.apps.example.org", ""},
		{"clock", "clock", func(_ *testing.T, d *doctor.Doctor) { d.Now = time.Unix(0, 0) }, doctor.Fail, "1970-01-01", "set the clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := healthy(t)
			c.change(t, d)
			all := d.Examine(t.Context())
			f := find(t, all, c.check)
			require.Equal(t, c.status, f.Status, "%+v", f)
			require.Contains(t, f.Detail, c.detail)
			require.Contains(t, f.Cure, c.cure)
			require.Equal(t, c.status == doctor.Fail, doctor.Failed(all))
		})
	}
}

// TestRunningPlatform checks that its own addresses are no fault of a platform.
func TestRunningPlatform(t *testing.T) {
	d := healthy(t)
	require.NoError(t, os.Mkdir(d.Dir, 0o700))
	s, err := bolt.Open(filepath.Join(d.Dir, "stratos.db"), nil)
	require.NoError(t, err)
	lis := listen(t)
	defer lis.Close()
	d.Listen = lis.Addr().String()

	all := d.Examine(t.Context())
	require.Contains(t, find(t, all, "data folder").Detail, "a platform runs on it")
	require.Equal(t, doctor.OK, find(t, all, "balancer address").Status)
	require.False(t, doctor.Failed(all))

	require.NoError(t, s.Close())
	all = d.Examine(t.Context())
	require.Contains(t, find(t, all, "data folder").Detail, "can be written to")
	require.Equal(t, doctor.Fail, find(t, all, "balancer address").Status)
}
