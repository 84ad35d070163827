package confine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/confine"
	"github.com/gostratos/stratos/internal/procfs"
)

const uid = 900000 // of nobody

// newBox is a box for a shell script, beside a secret.
func newBox(t *testing.T) (box *confine.Box, secret string) {
	t.Helper()
	can := confine.Probe()
	require.NotEmpty(t, can.Bubblewrap, can.Why)
	data := t.TempDir()
	secret = filepath.Join(data, "master.key")
	require.NoError(t, os.WriteFile(secret, []byte("sesame"), 0o600))
	box = &confine.Box{Work: filepath.Join(data, "work"), Cache: filepath.Join(data, "cache"), Tmp: filepath.Join(data, "tmp"), Hidden: []string{data}, UID: uid, Abilities: can}
	for _, dir := range []string{box.Work, box.Tmp} {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	return box, secret
}

func environment(f confine.Folders) []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + f.Cache, "TMPDIR=" + f.Tmp}
}

func run(t *testing.T, box *confine.Box, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it gets little while other tests run
	defer cancel()
	var out bytes.Buffer
	err := box.Run(ctx, []string{"sh", "-c", script}, environment, &out)
	requireNothingLeft(t, box)
	return out.String(), err
}

// requireNothingLeft fails if a process has one of the box's folders as its own.
func requireNothingLeft(t *testing.T, box *confine.Box) {
	t.Helper()
	all, err := procfs.All()
	require.NoError(t, err)
	for _, s := range all {
		line, err := os.ReadFile(procfs.File(s.PID, "environ"))
		if err == nil && s.PID != os.Getpid() {
			require.NotContains(t, string(line), "BOX="+box.Work)
		}
	}
}

func TestItsFoldersAreItsOwn(t *testing.T) {
	box, _ := newBox(t)
	out, err := run(t, box, "echo work > made; echo cache > $HOME/kept; echo tmp > $TMPDIR/t; pwd; env | sort; cat /etc/hostname >/dev/null; exec 2>&1; id -u")
	require.NoError(t, err)
	require.Contains(t, out, "HOME=/mnt/cache")
	require.NotContains(t, out, "GOCACHE", "the environment is the caller's")
	if os.Geteuid() == 0 {
		require.Contains(t, out, fmt.Sprint("\n", uid, "\n"))
	}
	for file, want := range map[string]string{box.Work + "/made": "work\n", box.Cache + "/kept": "cache\n", box.Tmp + "/t": "tmp\n"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	out, err = run(t, box, "cat $HOME/kept")
	require.NoError(t, err)
	require.Equal(t, "cache\n", out)
}

// TestNothingElseIsSeen: not the data folder, not other processes; nothing
// else can be written to, and no privilege is left.
func TestNothingElseIsSeen(t *testing.T) {
	box, secret := newBox(t)
	sleeper := exec.Command("sleep", "1000")
	require.NoError(t, sleeper.Start())
	defer func() {
		require.NoError(t, sleeper.Process.Kill())
		require.ErrorContains(t, sleeper.Wait(), "killed")
	}()
	outside := t.TempDir()
	require.NoError(t, os.Chmod(outside, 0o777))
	for script, want := range map[string]string{
		"cat " + secret: "No such file",
		"ls " + filepath.Dir(secret) + " && false":                 "",
		"echo x > " + outside + "/x":                               "cannot create",
		"echo x > /etc/x":                                          "Read-only file system",
		fmt.Sprint("kill -0 ", sleeper.Process.Pid):                "No such process",
		"cat /etc/shadow":                                          "Permission denied",
		"mount -t tmpfs none /mnt/cache":                           "", // whatever it says
		"ls /proc | grep -c '^[0-9]' | grep -q '^[1-9]$' && false": "",
	} {
		if strings.Contains(script, "shadow") && os.Geteuid() != 0 {
			continue // nothing new
		}
		out, err := run(t, box, script)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s: %s", script, out)
		require.Contains(t, out, want, script)
	}
	out, err := run(t, box, "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status")
	require.NoError(t, err)
	require.Contains(t, out, "CapEff:\t0000000000000000")
	require.Contains(t, out, "NoNewPrivs:\t1")
}

// TestLimits: who reaches one is stopped there, with all that he started, and
// it is said which.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits confine.Limits
		script string
		want   string
	}{
		"processor":        {confine.Limits{CPU: 200 * time.Millisecond}, "while :; do :; done", "more than 200ms of processor time"},
		"processors":       {confine.Limits{CPU: 200 * time.Millisecond}, "for i in 1 2 3; do (while :; do :; done) & done; wait", "more than 200ms of processor time"},
		"memory":           {confine.Limits{Memory: 100 << 20}, "tail /dev/zero", "more than 100 MiB of memory"},
		"disk, one file":   {confine.Limits{Disk: 50 << 20}, "dd if=/dev/zero of=f bs=1M count=40 2>&1; dd if=/dev/zero of=$HOME/f bs=1M count=40 2>&1; sleep 100", "it wrote more than 50 MiB"},
		"disk, many files": {confine.Limits{Disk: 5 << 20}, "i=0; while :; do i=$((i+1)); echo x > $TMPDIR/$i; done", "it wrote more than 5 MiB"},
		"processes":        {confine.Limits{Processes: 50}, "f() { f | f & }; f; sleep 100", "more than 50 processes"},
		"who runs away":    {confine.Limits{CPU: 200 * time.Millisecond}, "setsid -f sh -c 'while :; do :; done'; sleep 100", "more than 200ms of processor time"},
	} {
		t.Run(name, func(t *testing.T) {
			box, _ := newBox(t)
			box.Limits = c.limits
			out, err := run(t, box, "export BOX="+box.Work+"; "+c.script)
			var exceeded *confine.ExceededError
			require.ErrorAs(t, err, &exceeded, out)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestWithoutBubblewrap: the limits hold, and it ends as a whole.
func TestWithoutBubblewrap(t *testing.T) {
	box, _ := newBox(t)
	box.Abilities, box.Limits = confine.Abilities{}, confine.Limits{CPU: 200 * time.Millisecond}
	out, err := run(t, box, "pwd; echo $HOME $TMPDIR")
	require.NoError(t, err)
	require.Equal(t, box.Work+"\n"+box.Cache+" "+box.Tmp+"\n", out)
	_, err = run(t, box, "export BOX="+box.Work+"; setsid -f sh -c 'while :; do :; done'; (while :; do :; done) & sleep 1000")
	var exceeded *confine.ExceededError
	require.ErrorAs(t, err, &exceeded)
}

func TestCacheIsEmptied(t *testing.T) {
	box, _ := newBox(t)
	box.Limits.Disk = 10 << 20
	out, err := run(t, box, "dd if=/dev/zero of=$HOME/f bs=1M count=6 2>&1")
	require.NoError(t, err, out)
	out, err = run(t, box, "ls $HOME")
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestSees(t *testing.T) {
	box, _ := newBox(t)
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "mine"), []byte("#!/bin/sh\n"), 0o755))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	require.NoError(t, box.Sees("mine"))
	require.NoError(t, box.Sees("sh"))
	require.Error(t, box.Sees("no-such-program"))
	box.Hidden = append(box.Hidden, bin)
	require.ErrorContains(t, box.Sees("mine"), "builds do not see")
}

func TestOneFileIsNoLargerThanTheDisk(t *testing.T) {
	box, _ := newBox(t)
	box.Limits.Disk = 1 << 20
	_, err := run(t, box, "trap '' XFSZ; dd if=/dev/zero of=f bs=1M count=3 2>&1")
	require.Error(t, err)
	info, err := os.Stat(box.Work + "/f")
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(1<<20))
}

// TestTheEnd: with the context, or the program itself, all that it started ends.
func TestTheEnd(t *testing.T) {
	box, _ := newBox(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	err := box.Run(ctx, []string{"sh", "-c", "export BOX=" + box.Work + "; setsid -f sleep 1000; trap '' TERM; sleep 1000"}, environment, &out)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireNothingLeft(t, box)

	_, err = run(t, box, "export BOX="+box.Work+"; setsid -f sleep 1000; exit 3")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.ExitCode())
}

func TestNoSuchProgram(t *testing.T) {
	box, _ := newBox(t)
	var out bytes.Buffer
	err := box.Run(t.Context(), []string{"no-such-program"}, environment, &out)
	require.Error(t, err)
	require.Contains(t, out.String(), "no-such-program: not found")
}

// TestItGivesWay: whoever else wakes up goes before it.
func TestItGivesWay(t *testing.T) {
	box, _ := newBox(t)
	out, err := run(t, box, "cat /proc/self/sched | grep '^policy'; ionice -p $$")
	require.NoError(t, err, out)
	require.Regexp(t, `policy\s*:\s*5`, out)
	require.Contains(t, out, "idle")
}

// TestControlGroup: where one can be made the program is in it, and nobody stays
// there; where not, sessions of the program's own get little.
func TestControlGroup(t *testing.T) {
	box, _ := newBox(t)
	if box.Abilities.Group != "" {
		out, err := run(t, box, "setsid cat /proc/self/cgroup")
		require.NoError(t, err)
		require.Regexp(t, "cpu.*:/stratos-builds\n", out)
		// It is gone, or another program's by now.
		tasks, err := os.ReadFile(filepath.Join(box.Abilities.Group, "tasks"))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		for _, task := range strings.Fields(string(tasks)) {
			require.NoDirExists(t, filepath.Join("/proc/self/task", task))
		}
	}
	if _, err := os.Stat("/proc/self/autogroup"); err != nil {
		return // this kernel has none
	}
	box.Abilities.Group = ""
	out, err := run(t, box, "setsid sh -c 'for i in $(seq 100); do grep -q 19 /proc/self/autogroup && break; sleep 0.1; done; cat /proc/self/autogroup'")
	require.NoError(t, err)
	require.Contains(t, out, "nice 19")
}

// TestNetwork: builds fetch what they need.
func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	heard := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		heard <- err
	}()
	box, _ := newBox(t)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	_, err = run(t, box, "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", "+port+"))'")
	require.NoError(t, errors.Join(err, <-heard))
}
