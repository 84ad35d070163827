package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud/local"
)

func TestMarked(t *testing.T) {
	const dir = "/var/x/instances/m1"
	for _, test := range []struct {
		name, environ string
		want          bool
	}{
		{"the marker", "A=B\x00STRATOS_LOCAL_INSTANCE=" + dir + "\x00", true},
		{"a home within", "HOME=" + dir + "/agent/runtimes/1\x00", true},
		{"a temporary folder within", "TMPDIR=" + dir + "/tmp", true},
		{"another instance", "STRATOS_LOCAL_INSTANCE=" + dir + "0\x00HOME=" + dir + "0/agent", false},
		{"a shell that looks around", "PWD=" + dir + "\x00HOME=/root\x00", false},
		{"nothing", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, local.Marked(test.environ, dir))
		})
	}
}

func TestStartedFor(t *testing.T) {
	const dir = "/var/x/instances/m1"
	for _, test := range []struct {
		name string
		args []string
		env  string
		want bool
	}{
		{"an agent", []string{"bin/abc", local.AgentArg, "m1"}, dir, true},
		{"a flavour", []string{"apaas"}, "", false},
		{"a flavour inside an instance", []string{"apaas"}, dir, false},
		{"arguments only", []string{"apaas", local.AgentArg, "m1"}, "", false},
		{"another instance's environment", []string{"apaas", local.AgentArg, "m2"}, dir, false},
		{"a relative folder", []string{"apaas", local.AgentArg, "m1"}, "x/m1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, ok := local.StartedFor(test.args, test.env)
			require.Equal(t, test.want, ok)
		})
	}
}

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"m1", "shop-1.a_b", "", ".", "..", "a/b", "a\x00", "-x", "ü"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if local.ValidName(name) {
			require.Equal(t, name, filepath.Base(name))
			require.True(t, filepath.IsLocal(name))
			require.NotContains(t, ".-", name[:1])
			require.Equal(t, filepath.Join("/x", name), "/x/"+name)
		}
	})
}

func TestLockIsOnesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	_, err := local.TryLock(path)
	require.ErrorIs(t, err, os.ErrNotExist, "a lock is not made by taking it")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	held, err := local.Locked(path)
	require.NoError(t, err)
	require.False(t, held)

	lock, err := local.TryLock(path)
	require.NoError(t, err)
	_, err = local.TryLock(path)
	require.ErrorIs(t, err, local.ErrLocked)
	held, err = local.Locked(path)
	require.NoError(t, err)
	require.True(t, held)

	// What a holder starts does not hold it on.
	child := exec.Command("sleep", "1000")
	require.NoError(t, child.Start())
	require.NoError(t, lock.Close())
	held, err = local.Locked(path)
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, child.Process.Kill())
	require.ErrorContains(t, child.Wait(), "killed")
}

func TestHandshake(t *testing.T) {
	for _, test := range []struct{ name, say, want, err string }{
		{"ready", "ready", "ready", ""},
		{"a long reason", strings.Repeat("x", 9000), strings.Repeat("x", 4095), ""},
		{"lines become one", "failed: a\nb", "failed: a b", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			defer w.Close() // never closed before it is heard
			local.Say(w, test.say)
			got, err := local.Hear(t.Context(), r, time.Minute)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	t.Run("an agent that ends without a word", func(t *testing.T) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		_, err = w.WriteString("rea")
		require.NoError(t, err)
		require.NoError(t, w.Close())
		_, err = local.Hear(t.Context(), r, time.Minute)
		require.Error(t, err)
	})
	t.Run("silence", func(t *testing.T) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		defer w.Close()
		_, err = local.Hear(t.Context(), r, time.Millisecond)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}
