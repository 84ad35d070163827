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

const statTail = " 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 4242 1 2"

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		name, line string
		ok         bool
	}{
		{"plain", "17 (nginx) S 5 17 9" + statTail, true},
		{"a name with blanks and brackets", "17 (a) S 1 (b) c) S 5 17 9" + statTail, true},
		{"a name with a line break", "17 (a\nb) S 5 17 9" + statTail, true},
		{"nothing", "", false},
		{"no name", "17 S 5 17 9" + statTail, false},
		{"too short", "17 (nginx) S 5 17 9 0", false},
		{"no number", "x (nginx) S 5 17 9" + statTail, false},
		{"number zero", "0 (nginx) S 5 17 9" + statTail, false},
		{"no session", "17 (nginx) S 5 17 x" + statTail, false},
		{"a negative start", strings.Replace("17 (nginx) S 5 17 9"+statTail, "4242", "-1", 1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pid, parent, session, start, err := local.ParseStat(test.line)
			if !test.ok {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []any{17, 5, 9, uint64(4242)}, []any{pid, parent, session, start})
		})
	}
}

func TestRuns(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       bool
	}{
		{"running", "17 (nginx) S 5 17 9" + statTail, true},
		{"ended", strings.Replace("17 (nginx) Z 5 17 9"+statTail, " 9 0 4242", " 1 0 4242", 1), false},
		{"only its first thread ended", "17 (nginx) Z 5 17 9" + statTail, true},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, local.Runs(test.line)) })
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("17 (nginx) S 5 17 9" + statTail)
	f.Add("17 (a) S 1 (b) c) Z 5 17 9" + statTail)
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		pid, _, _, _, err := local.ParseStat(line)
		if err == nil {
			require.Positive(t, pid)
			require.Contains(t, line, " (")
		}
	})
}

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
