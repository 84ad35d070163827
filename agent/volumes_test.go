package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/topology"
)

func TestEnvironmentAndSecrets(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	plan := appPlan(t)
	plan.Secrets = []string{"root"}
	plan.Processes[0].Env["MODE"], plan.Processes[0].Env["KEEP"] = "plan", "plan"
	plan.Processes[0].Env["ROOT"] = `{{secret "root"}}`
	plan.Files = append(plan.Files, cartridge.File{Path: "conf/pass", Content: `p={{secret "root"}}`})
	tar := c.pack(appFiles("one", ""))
	const secret, url = "s3cret-of-root", "mysql://u:pa55w0rd@127.0.0.1/db"
	with := func(config, mode string) func(*wire.Assignment) {
		return func(a *wire.Assignment) {
			a.Config, a.Secrets = config, map[string]string{"root": secret}
			a.Env = map[string]string{"MODE": mode, "DATABASE_URL": url, "INSTANCE": "assigned"}
		}
	}
	one := c.assignWith("r1", tar, plan, with("c1", "one"))
	var log syncBuffer
	a := startWith(t, c, t.TempDir(), "", log.logger())
	at := c.awaitServing(one)
	env := strings.Split(mustGet(t, at+"/env"), "\n")
	require.Subset(t, env, []string{"MODE=one", "KEEP=plan", "ROOT=" + secret, "DATABASE_URL=" + url, "INSTANCE=m1"})
	file, err := os.ReadFile(filepath.Join(c.homeOf(at), "conf", "pass"))
	require.NoError(t, err)
	require.Equal(t, "p="+secret, string(file))
	requireMode(t, filepath.Join(c.homeOf(at), "conf", "pass"), 0o600)

	// The environment alone is another release.
	two := c.assignWith("r1", tar, plan, with("c2", "two"))
	require.NotEqual(t, one, two)
	next := c.awaitServing(two)
	require.NotEqual(t, at, next, "it comes up beside the old one")
	require.Contains(t, mustGet(t, next+"/env"), "MODE=two")
	require.Equal(t, "one", mustGet(t, at), "the old one is not known to be of no use yet")
	c.heed()
	c.update(func(m *topology.Member) { m.Retiring = nil })
	c.await("nothing retires", func(s wire.Status) bool { return len(s.Retiring) == 0 })

	plan.Secrets = append(plan.Secrets, "other")
	plan.Processes[0].Env["OTHER"] = `{{secret "other"}}`
	three := c.assignWith("r2", tar, plan, with("c3", "three"))
	s := c.await("refused", func(s wire.Status) bool { return s.Refused != nil && s.Refused.Release == three })
	require.Contains(t, s.Refused.Reason, `no secret "other"`)

	require.NoError(t, a.stop())
	journal, err := os.ReadFile(filepath.Join(a.dir, "log"))
	require.NoError(t, err)
	said, err := json.Marshal(c.statuses)
	require.NoError(t, err)
	for _, text := range []string{log.String(), string(journal), string(said)} {
		require.NotContains(t, text, secret)
		require.NotContains(t, text, "pa55w0rd")
	}
}

func TestVolumesThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, root, data string
		reason           string
	}{
		{name: "no folder", data: "v", reason: "this instance has no folder to keep them"},
		{name: "no name", root: t.TempDir(), reason: `the name "" of the subscription's volumes cannot name a folder`},
		{name: "a path", root: t.TempDir(), data: "../x", reason: `the name "../x" of the subscription's volumes`},
		{name: "the parent", root: t.TempDir(), data: "..", reason: `the name ".." of the subscription's volumes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			plan := appPlan(t)
			plan.Volumes = []cartridge.Volume{{Name: "data"}}
			c.assignWith("r1", c.pack(appFiles("one", "")), plan, func(a *wire.Assignment) { a.Data = tt.data })
			startWith(t, c, t.TempDir(), tt.root, nil)
			s := c.await("refused", func(s wire.Status) bool { return s.Refused != nil })
			require.Contains(t, s.Refused.Reason, tt.reason)
		})
	}
}

// exclusivePlan is the app with a volume for it alone.
func exclusivePlan(t *testing.T) cartridge.Plan {
	plan := appPlan(t)
	plan.Volumes = []cartridge.Volume{{Name: "my-data", Exclusive: true}, {Name: "uploads"}}
	plan.Processes[0].Env["VOLUME"] = `{{volume "my-data"}}`
	return plan
}

func TestSecondMemberWaitsForTheVolume(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	one, two := newControlPlane(t), newControlPlane(t)
	plan := exclusivePlan(t)
	plan.Health.Start = 5 * time.Second
	ref := one.assign("r1", appFiles("one", ""), plan)
	first := startWith(t, one, t.TempDir(), root, nil)
	at := one.awaitServing(ref)
	env := mustGet(t, at+"/env") + "\n"
	dir := filepath.Join(root, "vol-1", "my-data")
	require.Contains(t, env, "VOLUME="+dir+"\n")
	require.Contains(t, env, "STRATOS_VOLUME_MY_DATA="+dir+"\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "row"), []byte("kept"), 0o600))

	ref = two.assign("r1", appFiles("two", ""), plan)
	startWith(t, two, t.TempDir(), root, nil)
	s := two.await("waiting", func(s wire.Status) bool { return strings.Contains(s.Reason, "volume") })
	require.Equal(t, `volume "my-data" is in use: waiting until the runtime that has it is gone`, s.Reason)
	require.Nil(t, s.Refused)
	// Crashes do not open it.
	for n := 1; n <= 3; n++ {
		killApp(t, mustGet(t, at+"/pid"))
		one.await("again", func(s wire.Status) bool { return s.Restarts == n && s.Phase == wire.PhaseReady })
		require.Nil(t, two.lastStatus().Serving)
	}
	require.NoError(t, first.stop())
	two.awaitServing(ref)
	row, err := os.ReadFile(filepath.Join(dir, "row"))
	require.NoError(t, err)
	require.Equal(t, "kept", string(row))
}

func TestSharedVolumeIsForAll(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	plan := appPlan(t)
	plan.Volumes = []cartridge.Volume{{Name: "uploads"}}
	for range 2 {
		c := newControlPlane(t)
		ref := c.assign("r1", appFiles("one", ""), plan)
		startWith(t, c, t.TempDir(), root, nil)
		c.awaitServing(ref)
	}
}

// What a killed agent leaves must not go on using the volume.
func TestKilledAgentLeavesTheVolumeToTheNextOne(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	one, two := newControlPlane(t), newControlPlane(t)
	plan := exclusivePlan(t)
	ref := one.assign("r1", appFiles("one", "escape"), plan)
	cmd := agentInProcess(t, one, t.TempDir(), root)
	one.awaitServing(ref)
	volume := "STRATOS_VOLUME_MY_DATA=" + filepath.Join(root, "vol-1", "my-data")
	require.Eventually(t, func() bool { return len(with(t, volume)) == 2 }, patience, time.Millisecond)
	left := with(t, volume)

	ref = two.assign("r1", appFiles("two", ""), plan)
	startWith(t, two, t.TempDir(), root, nil)
	two.await("waiting", func(s wire.Status) bool { return strings.Contains(s.Reason, "volume") })
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	two.awaitServing(ref)
	for _, pid := range left {
		require.NotContains(t, with(t, volume), pid, "it still uses the volume")
	}
}

// agentInProcess starts an agent in a process of its own.
func agentInProcess(t *testing.T, c *controlPlane, dir, root string) *exec.Cmd {
	user, err := json.Marshal(c.userData())
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), agentEnv+"="+string(user), dirEnv+"="+dir, rootEnv+"="+root)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	return cmd
}

// with lists the processes that have an entry in their environment.
func with(t *testing.T, entry string) (pids []string) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, name := range all {
		env, err := os.ReadFile(name)
		if err == nil && strings.Contains("\x00"+string(env), "\x00"+entry+"\x00") {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

func TestExclusivePlanStopsTheOldRuntimeFirst(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	plan := exclusivePlan(t)
	self := plan.Processes[0].Args[0]
	// It is red if the runtime before still runs, or was not stopped gracefully.
	plan.Programs = []cartridge.Program{{Names: []string{"sh"}}}
	plan.Processes[0].Args = []string{"sh", "-c", `test ! -e "$VOLUME/lock" || { echo "not alone"; exit 9; }
touch "$VOLUME/lock"
"$0" & trap "kill -TERM $!" TERM; wait $!; wait $!; rm "$VOLUME/lock"`, self}
	one := c.assign("r1", appFiles("one", ""), plan)
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(one)
	two := c.assign("r2", appFiles("two", ""), plan)
	at := c.awaitServing(two)
	require.Equal(t, "two", mustGet(t, at))
	s := c.lastStatus()
	require.Empty(t, s.Retiring)
	require.Nil(t, s.Refused)
}

func TestRefusedExclusiveReleaseBringsTheFormerBack(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	one := c.assign("r1", appFiles("one", ""), exclusivePlan(t))
	startWith(t, c, t.TempDir(), root, nil)
	at := c.awaitServing(one)
	pid := mustGet(t, at+"/pid")

	// What can be refused without running does not disturb the one that runs.
	missing := exclusivePlan(t)
	missing.Programs = []cartridge.Program{{Names: []string{"cobol-9"}}}
	two := c.assign("r2", appFiles("two", ""), missing)
	s := c.await("refused", func(s wire.Status) bool { return s.Refused != nil && s.Refused.Release == two })
	require.Equal(t, one, s.Serving.Release)
	require.Equal(t, pid, mustGet(t, at+"/pid"))

	three := c.assign("r3", appFiles("three", "crash"), exclusivePlan(t))
	s = c.await("back", func(s wire.Status) bool {
		return s.Phase == wire.PhaseReady && s.Refused != nil && s.Refused.Release == three
	})
	require.Equal(t, one, s.Serving.Release)
	require.Contains(t, s.Refused.Reason, "exit status 3")
	require.Contains(t, s.Refused.Log, "cannot find the database")
	require.Equal(t, "one", mustGet(t, address(*s.Serving)))

	// A good one is served after that, and nothing is refused any more.
	four := c.assign("r4", appFiles("four", ""), exclusivePlan(t))
	require.Equal(t, "four", mustGet(t, c.awaitServing(four)))
	require.Nil(t, c.lastStatus().Refused)
}

// The one that stopped for another comes back when the other is abandoned.
func TestAbandonedExclusiveReleaseBringsTheFormerBack(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	tar := c.pack(appFiles("one", ""))
	one := c.assignArchive("r1", tar, exclusivePlan(t))
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(one)
	c.assign("r2", appFiles("two", "deaf"), exclusivePlan(t))
	c.await("nothing serves", func(s wire.Status) bool { return s.Serving == nil })
	c.assignArchive("r1", tar, exclusivePlan(t))
	require.Equal(t, "one", mustGet(t, c.awaitServing(one)))
	require.Equal(t, fmt.Sprint(one), fmt.Sprint(c.lastStatus().Serving.Release))
}
