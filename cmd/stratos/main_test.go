package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/cmd/stratos/internal/config"
	"github.com/gostratos/stratos/cmd/stratos/internal/doctor"
)

func TestMain(m *testing.M) {
	local.Main() // the agents of the platforms in these tests are this program
	os.Exit(m.Run())
}

// stratosCommand runs a command line in this process.
func stratosCommand(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	code, out, errs := stratosCommand(t.Context(), "version")
	require.Zero(t, code, errs)
	require.Contains(t, out, "stratos "+stratos.Version+" "+runtime.Version())
	require.Contains(t, out, "\nrevision ")
}

func TestRevision(t *testing.T) {
	require.Equal(t, "unknown", revision(nil))
	require.Contains(t, revision(&debug.BuildInfo{}), "unknown")
	require.Equal(t, "abc of 2026-01-02T03:04:05Z, with changes", revision(&debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}))
}

func TestMistakes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("listen: x\nname: A\n"), 0o600))
	good := filepath.Join(t.TempDir(), "good.yaml")
	require.NoError(t, os.WriteFile(good, nil, 0o600))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no such command", []string{"server"}, `unknown command "server"`},
		{"no such flag", []string{"serve", "--conf", "x"}, `see "stratos serve --help"`},
		{"no configuration", []string{"serve"}, `stratos: no configuration: give --config FILE; "stratos serve --example > stratos.yaml"`},
		{"no such file", []string{"serve", "-config", "none.yaml"}, "stratos: no configuration at none.yaml"},
		{"bad file", []string{"serve", "-c", bad}, "stratos: " + bad + ":1:1: listen: "},
		{"all mistakes", []string{"serve", "--config=" + bad}, "\nstratos: " + bad + ":2:1: name: "},
		{"log level", []string{"serve", "-config=" + good, "--log-level", "loud"}, `--log-level "loud": write debug, info, warn or error`},
		{"arguments", []string{"serve", "-c", good, "more"}, "unknown command"},
		{"doctor's file", []string{"doctor", "-c", bad}, "listen: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := stratosCommand(t.Context(), c.args...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.True(t, strings.HasPrefix(errs, "stratos: "), errs)
			require.NotContains(t, out+errs, "Usage:")
		})
	}
}

func TestHelp(t *testing.T) {
	code, out, _ := stratosCommand(t.Context())
	require.Zero(t, code)
	for _, want := range []string{"serve", "balancer", "token", "holds", "store", "doctor", "version"} {
		require.Contains(t, out, "  "+want)
	}
}

func TestExampleFile(t *testing.T) {
	code, out, errs := stratosCommand(t.Context(), "serve", "--example")
	require.Zero(t, code, errs)
	path := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(path, []byte(out), 0o600))
	code, out, errs = stratosCommand(t.Context(), "serve", "--check", "--config", path)
	require.Zero(t, code, errs)
	require.Equal(t, path+": good\n", out)

	f, err := config.Load(path)
	require.NoError(t, err)
	require.Len(t, f.Subscriptions, 1)
	require.Equal(t, map[string]config.Text{"APP_ENV": "production"}, f.Subscriptions[0].Env)
	// What the file says are defaults are what an empty one means.
	empty, err := config.Parse("empty", nil)
	require.NoError(t, err)
	require.Equal(t, empty.Name, f.Name)
	require.Equal(t, empty.Cartridges, f.Cartridges)
	require.Equal(t, empty.Accounts[0].Name, f.Accounts[0].Name)
	require.Equal(t, empty.Accounts[0].Driver, f.Accounts[0].Driver)
}

// TestExampleHasAllFields: what is commented out is right, too, and there is
// no field that the example does not show.
func TestExampleHasAllFields(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^( *)#(  |[a-z])`)
	text := commented.ReplaceAllString(string(example), "$1$2")
	text = strings.Replace(text, "api: 127.0.0.1:8080", "api: 10.0.0.1:8080", 1)
	_, err := config.Parse("example", []byte(text))
	require.NoError(t, err)
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			look(of.Elem())
		case reflect.Struct:
			for f := range of.Fields() {
				require.Regexp(t, `(?m)(^|[ {])`+f.Tag.Get("yaml")+`:`, text)
				look(f.Type)
			}
		}
	}
	look(reflect.TypeFor[config.File]())
}

func TestDoctorCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	dir := filepath.Join(t.TempDir(), "data")

	code, out, errs := stratosCommand(t.Context(), "doctor", "--json", "--dir", dir, "--listen", freeAddress(t), "--api", freeAddress(t))
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	checks := 0
	for line := range strings.Lines(out) {
		var f doctor.Finding
		require.NoError(t, json.Unmarshal([]byte(line), &f), line)
		require.NotEmpty(t, f.Detail)
		checks++
	}
	require.Greater(t, checks, 10)

	code, out, errs = stratosCommand(t.Context(), "doctor", "--dir", file, "--listen", freeAddress(t), "--api", freeAddress(t))
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^fail  data folder +`+file+" is not a folder\n +-> choose a folder", out)
	require.Contains(t, errs, "a platform does not run here")
}

// TestDoctorReadsTheConfiguration checks that a file says what is looked at,
// and that flags go before it.
func TestDoctorReadsTheConfiguration(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "stratos.yaml"), filepath.Join(t.TempDir(), "data")
	listen, api := freeAddress(t), freeAddress(t)
	require.NoError(t, os.WriteFile(path, []byte("dir: "+dir+"\nlisten: "+listen+"\napi: 127.0.0.1:1\n"), 0o600))
	code, out, errs := stratosCommand(t.Context(), "doctor", "-config", path, "-api", api)
	require.Zero(t, code, errs)
	for _, want := range []string{dir, listen + " is free", api + " is free"} {
		require.Contains(t, out, want)
	}
}
