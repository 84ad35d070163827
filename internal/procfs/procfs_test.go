package procfs_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/procfs"
)

const tail = " 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 9 0 4242 1 2 18446744073709551615"

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, line string
		ok         bool
	}{
		{"plain", "17 (nginx) S 5 16 9" + tail, true},
		{"a name with blanks and brackets", "17 (a) S 1 (b) c) S 5 16 9" + tail, true},
		{"a name with a line break", "17 (a\nb) S 5 16 9" + tail, true},
		{"nothing", "", false},
		{"no name", "17 S 5 16 9" + tail, false},
		{"too short", "17 (nginx) S 5 16 9 0", false},
		{"no number", "x (nginx) S 5 16 9" + tail, false},
		{"number zero", "0 (nginx) S 5 16 9" + tail, false},
		{"no session", "17 (nginx) S 5 16 x" + tail, false},
		{"a negative start", strings.Replace("17 (nginx) S 5 16 9"+tail, "4242", "-1", 1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := procfs.Parse(test.line)
			if !test.ok {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, procfs.Stat{
				PID: 17, Parent: 5, Group: 16, Session: 9, State: 'S', Threads: 9, Start: 4242,
				CPU: 5750 * time.Millisecond, Memory: 2 * uint64(os.Getpagesize()),
			}, got)
		})
	}
}

func TestRuns(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       bool
	}{
		{"running", "17 (nginx) S 5 17 9" + tail, true},
		{"ended", strings.Replace("17 (nginx) Z 5 17 9"+tail, " 9 0 4242", " 1 0 4242", 1), false},
		{"only its first thread ended", "17 (nginx) Z 5 17 9" + tail, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := procfs.Parse(test.line)
			require.NoError(t, err)
			require.Equal(t, test.want, s.Runs())
		})
	}
}

func TestAll(t *testing.T) {
	child := exec.Command("sleep", "1000")
	require.NoError(t, child.Start())
	all, err := procfs.All()
	require.NoError(t, err)
	mine := map[int]bool{os.Getpid(): true}
	procfs.AddChildren(all, mine)
	require.True(t, mine[child.Process.Pid])
	require.False(t, mine[1])
	for _, s := range all {
		if s.PID == os.Getpid() {
			require.Equal(t, syscall.Getpgrp(), s.Group)
			require.Positive(t, s.Memory)
		}
	}
	require.NoError(t, child.Process.Kill())
	require.ErrorContains(t, child.Wait(), "killed")
	_, ok, err := procfs.Read(child.Process.Pid)
	require.NoError(t, err)
	require.False(t, ok)
}

func FuzzParse(f *testing.F) {
	f.Add("17 (nginx) S 5 17 9" + tail)
	f.Add("17 (a) S 1 (b) c) Z 5 17 9" + tail)
	f.Add(")(")
	f.Add("1 ()")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		if s, err := procfs.Parse(line); err == nil {
			require.Positive(t, s.PID)
			require.Contains(t, line, " (")
		}
	})
}
