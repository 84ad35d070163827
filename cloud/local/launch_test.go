package local_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/internal/procfs"
)

func TestLaunchRefuses(t *testing.T) {
	d := open(t, t.TempDir())
	with := func(change func(s *cloud.Spec)) cloud.Spec {
		s := spec("m1", "idle")
		change(&s)
		return s
	}
	tests := []struct {
		name string
		spec cloud.Spec
		says string
	}{
		{"no name", with(func(s *cloud.Spec) { s.Name = "" }), "name"},
		{"a path", with(func(s *cloud.Spec) { s.Name = "a/b" }), "name"},
		{"the folder above", with(func(s *cloud.Spec) { s.Name = ".." }), "name"},
		{"a hidden name", with(func(s *cloud.Spec) { s.Name = ".m1" }), "name"},
		{"an option", with(func(s *cloud.Spec) { s.Name = "-m1" }), "name"},
		{"a zero byte", with(func(s *cloud.Spec) { s.Name = "m\x001" }), "name"},
		{"a long name", with(func(s *cloud.Spec) { s.Name = strings.Repeat("m", 129) }), "name"},
		{"no token", with(func(s *cloud.Spec) { s.Token = "" }), "no token"},
		{"no user-data", with(func(s *cloud.Spec) { s.UserData = nil }), "user-data"},
		{"other user-data", with(func(s *cloud.Spec) { s.UserData = []byte("#!/bin/sh secret-of") }), "user-data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := d.Launch(t.Context(), test.spec)
			require.ErrorIs(t, err, cloud.ErrRejected)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "secret-of")
			all, err := d.List(t.Context(), owner)
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

func TestLaunchRefusesATakenName(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	first := spec("m1", "idle")
	_, err := d.Launch(t.Context(), first)
	require.NoError(t, err)
	pid := agentPID(t, dir, "m1")
	for _, test := range []struct {
		name   string
		change func(s *cloud.Spec)
	}{
		{"another token", func(s *cloud.Spec) { s.Token = "other" }},
		{"other user-data", func(s *cloud.Spec) { s.UserData = append(s.UserData, ' ') }},
		{"other tags", func(s *cloud.Spec) { s.Tags = map[string]string{"x": "y"} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spec("m1", "idle")
			test.change(&s)
			_, err := d.Launch(t.Context(), s)
			require.ErrorIs(t, err, cloud.ErrRejected)
			require.True(t, runs(t, pid))
		})
	}
}

// What the agent is, seen from outside: no secrets where others read, nothing
// of the control plane's surroundings, a session of its own.
func TestAgentIsAProcessOfItsOwn(t *testing.T) {
	t.Setenv("SECRET_OF_THE_CONTROL_PLANE", "s3cret")
	dir := t.TempDir()
	d := open(t, dir)
	d.Env = []string{"GOMEMLIMIT=64MiB"}
	i, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.Equal(t, cloud.InstanceID("m1"), i.ID)
	require.Equal(t, cloud.Running, i.State)
	require.Equal(t, []string{"127.0.0.1"}, i.Addresses)

	pid := agentPID(t, dir, "m1")
	proc := fmt.Sprintf("/proc/%d/", pid)
	args, err := os.ReadFile(proc + "cmdline")
	require.NoError(t, err)
	require.Equal(t, []string{local.AgentArg, "m1", ""}, strings.Split(string(args), "\x00")[1:])
	environ, err := os.ReadFile(proc + "environ")
	require.NoError(t, err)
	for _, secret := range []string{"s3cret", "secret-of", "tokenm1"} {
		require.NotContains(t, string(environ), secret)
	}
	require.Contains(t, string(environ), "GOMEMLIMIT=64MiB\x00")

	stat, ok, err := procfs.Read(pid)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, pid, stat.Session)
	require.Equal(t, os.Getpid(), stat.Parent)
	for fd, want := range map[string]string{"0": "/dev/null", "1": "agent.log", "2": "agent.log"} {
		to, err := os.Readlink(proc + "fd/" + fd)
		require.NoError(t, err)
		require.Contains(t, to, want)
	}
}

func TestFilesAreNobodyElses(t *testing.T) {
	dir := t.TempDir()
	_, err := open(t, dir).Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	seen := 0
	for _, below := range []string{"bin", "instances", "ended", "tmp"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(dir, below), func(path string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			i, err := e.Info()
			require.NoError(t, err)
			require.Zero(t, i.Mode().Perm()&0o077, path)
			seen++
			return nil
		}))
	}
	require.Greater(t, seen, 8)
}

// claimed makes a claim whose agent could not be started.
func claimed(t *testing.T, dir string, d *local.Driver, s cloud.Spec) {
	t.Helper()
	bin := filepath.Join(dir, "bin", names(t, filepath.Join(dir, "bin"))[0])
	require.NoError(t, os.Chmod(bin, 0o600))
	_, err := d.Launch(t.Context(), s)
	require.ErrorContains(t, err, "mounted with exec")
	require.False(t, cloud.SurelyNot(err), "there is a claim")
	require.NoError(t, os.Chmod(bin, 0o700))
}

// A claim without an agent is what a crash between the two leaves.
func TestClaimWithoutAgentCanBeLaunched(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	claimed(t, dir, d, spec("m1", "idle"))
	require.Equal(t, cloud.Pending, stateOf(t, d, "m1"), "nothing leaks unseen")

	i, err := open(t, dir).Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.Equal(t, cloud.Running, i.State)
	require.Len(t, agents(t, dir)["m1"], 1)
}

func TestClaimWithoutAgentCanBeTerminated(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	claimed(t, dir, d, spec("m1", "idle"))
	require.NoError(t, d.Terminate(t.Context(), "m1"))
	require.Empty(t, names(t, filepath.Join(dir, "instances")))

	i, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.Equal(t, cloud.Gone, i.State, "a late launch of what was terminated")
	require.Empty(t, names(t, filepath.Join(dir, "instances")))

	again := spec("m1", "idle")
	again.Token = "attempt2"
	i, err = d.Launch(t.Context(), again)
	require.NoError(t, err)
	require.Equal(t, cloud.Running, i.State, "the name is free for another token")
}

// An instance runs once, like a machine that is gone.
func TestGoneIsNotLaunchedAgain(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	pid := agentPID(t, dir, "m1")
	kill(t, pid)
	i, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	require.Equal(t, cloud.Gone, i.State)
	require.Empty(t, agents(t, dir))
	require.Equal(t, pid, agentPID(t, dir, "m1"))
}

func TestAgentThatEndsIsGone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "fails"))
	require.NoError(t, err)
	eventually(t, "the instance is gone", func() bool { return stateOf(t, d, "m1") == cloud.Gone })
	log, err := os.ReadFile(filepath.Join(dir, "instances", "m1", "agent.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "the token is refused")
	require.NotContains(t, string(log), "secret-of")
}

func TestEndedAgentsAreReaped(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	pid := agentPID(t, dir, "m1")
	kill(t, pid)
	require.DirExists(t, fmt.Sprintf("/proc/%d", pid), "a zombie")
	_, err = d.List(t.Context(), owner)
	require.NoError(t, err)
	require.NoDirExists(t, fmt.Sprintf("/proc/%d", pid))
}

// A launch that is broken off leaves an agent that comes up by itself.
func TestLaunchBrokenOff(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Launch(ctx, spec("m1", "idle"))
	if err != nil { // unless the agent was faster
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, cloud.SurelyNot(err))
	}
	eventually(t, "the agent comes up", func() bool { return stateOf(t, d, "m1") == cloud.Running })
}

// A second agent for a folder sees the first and goes.
func TestSecondAgentGoes(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	_, err := d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	pid := agentPID(t, dir, "m1")
	require.NoError(t, os.Remove(filepath.Join(dir, "instances", "m1", "pid.json")))
	_, err = d.Launch(t.Context(), spec("m1", "idle"))
	require.NoError(t, err)
	eventually(t, "the second ends", func() bool { return len(agents(t, dir)["m1"]) == 1 })
	require.Equal(t, []int{pid}, agents(t, dir)["m1"])
}
