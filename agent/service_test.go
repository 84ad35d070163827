package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/topology"
)

// serviceRoutes are the control plane's part in bindings and jobs.
func (c *controlPlane) serviceRoutes(mux *http.ServeMux) {
	c.cluster = topology.Cluster{V: topology.Schema, ID: testCluster}
	mux.HandleFunc("GET "+wire.BindingsPath, c.signed(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.noList {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		c.reply(w, c.bindings)
	}))
	mux.HandleFunc("GET "+wire.JobPath, c.signed(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.job.ID == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		c.reply(w, c.job)
	}))
	mux.HandleFunc("GET "+wire.JobsPath+"{id}", c.signed(c.sendJob))
	mux.HandleFunc("PUT "+wire.JobsPath+"{id}", c.takeJob)
	mux.HandleFunc("POST "+wire.JobsPath+"{id}", c.signed(func(w http.ResponseWriter, r *http.Request, body []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		var result wire.JobResult
		if err := json.Unmarshal(body, &result); err != nil {
			c.bad = append(c.bad, err.Error())
		}
		if _, twice := c.results[r.PathValue("id")]; twice {
			c.bad = append(c.bad, "two results of job "+r.PathValue("id"))
		}
		c.results[r.PathValue("id")] = result
		w.WriteHeader(http.StatusNoContent)
	}))
}

func (c *controlPlane) sendJob(w http.ResponseWriter, r *http.Request, _ []byte) {
	c.mu.Lock()
	text, breaks := c.stored[r.PathValue("id")], c.broken > 0
	if breaks {
		c.broken--
		text = text[:len(text)/2]
	}
	c.mu.Unlock()
	_, err := io.WriteString(w, text)
	if breaks {
		_ = http.NewResponseController(w).Flush() // it breaks off now anyway
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		c.wrong("sending a backup: %v", err)
	}
}

func (c *controlPlane) takeJob(w http.ResponseWriter, r *http.Request) {
	s, ok, err := wire.ParseStream(r)
	c.mu.Lock()
	key, breaks := c.key, c.broken > 0
	c.started++
	if breaks {
		c.broken--
	}
	c.mu.Unlock()
	if err == nil {
		err = s.Verify(key, time.Now())
	}
	if !ok || err != nil {
		c.wrong("%s is not signed: %v", r.URL, err)
		http.Error(w, "not signed", http.StatusUnauthorized)
		return
	}
	if breaks {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if errors.Is(err, wire.ErrSignature) {
			c.wrong("%s: %v", r.URL, err)
		}
		http.Error(w, "not whole", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored[r.PathValue("id")] = string(body)
	w.WriteHeader(http.StatusNoContent)
}

// declare changes the cluster's record.
func (c *controlPlane) declare(change func(*topology.Cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.cluster)
	value, err := json.Marshal(c.cluster)
	require.NoError(c.t, err)
	c.put(topology.ClusterKey(testCluster), value)
}

// let makes a list of bindings, and says so in the topology.
func (c *controlPlane) let(id string, all ...wire.Binding) {
	c.mu.Lock()
	c.bindings = wire.Bindings{ID: id, All: all}
	c.mu.Unlock()
	c.declare(func(k *topology.Cluster) { k.Bindings = id })
}

// order makes a job, and says so in the topology.
func (c *controlPlane) order(job wire.Job) {
	c.mu.Lock()
	c.job = job
	c.mu.Unlock()
	c.declare(func(k *topology.Cluster) { k.Job = job.ID })
}

func (c *controlPlane) awaitBound(id string) {
	c.t.Helper()
	c.await("bound "+id, func(s wire.Status) bool { return s.Bound == id && s.BindError == "" })
}

// awaitResult waits for what the agent says of a job.
func (c *controlPlane) awaitResult(id string) string {
	c.t.Helper()
	var result wire.JobResult
	require.Eventually(c.t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		r, ok := c.results[id]
		result = r
		return ok
	}, patience, 5*time.Millisecond, "no result of job %s", id)
	return result.Error
}

// servicePlan is the app with a service whose actions note in the volume what
// they did. They do what the scripts given say before that.
func servicePlan(t *testing.T, scripts map[string]string) cartridge.Plan {
	plan := appPlan(t)
	plan.Programs = append(plan.Programs, cartridge.Program{Names: []string{"sh"}})
	plan.Ports = append(plan.Ports, cartridge.Port{Name: "db", Protocol: "tcp"})
	plan.Volumes = []cartridge.Volume{{Name: "data", Exclusive: true}}
	plan.Secrets = []string{"root"}
	action := func(name, input, then string) cartridge.Action {
		return cartridge.Action{
			Args:    []string{"sh", "-c", scripts[name] + "\n" + then},
			Env:     map[string]string{"NOTES": `{{volume "data"}}/notes`, "ROOT": `{{secret "root"}}`, "DB": `{{port "db"}}`},
			Input:   input,
			Timeout: patience,
		}
	}
	backup := action("backup", "", `cat "${NOTES%notes}content"`)
	restore := action("restore", "", `cat > "${NOTES%notes}incoming" && mv "${NOTES%notes}incoming" "${NOTES%notes}content" && echo restored >> "$NOTES"`)
	plan.Service = &cartridge.Service{
		Scheme:     "test",
		Connect:    action("connect", `{{binding "user"}} {{binding "password"}} {{binding "database"}}`, `read -r b; echo "connect $b $ROOT $DB" >> "$NOTES"`),
		Disconnect: action("disconnect", `{{binding "user"}} {{binding "database"}}`, `read -r b; echo "disconnect $b" >> "$NOTES"`),
		Backup:     &backup, Restore: &restore,
	}
	return plan
}

// provide assigns a release of a service.
func (c *controlPlane) provide(revision string, plan cartridge.Plan) wire.ReleaseRef {
	return c.assignWith(revision, c.pack(appFiles(revision, "")), plan, func(a *wire.Assignment) {
		a.Config, a.Secrets = "c1", map[string]string{"root": "r00t-secret"}
	})
}

func noted(t *testing.T, root string) []string {
	b, err := os.ReadFile(filepath.Join(root, "vol-1", "data", "notes"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

var (
	anna = wire.Binding{User: "anna", Password: "annas-password", Database: "da"}
	bert = wire.Binding{User: "bert", Password: "berts-password", Database: "db"}
)

func TestBindings(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, nil))
	a := startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	require.Empty(t, c.lastStatus().Bound)

	c.let("l1", anna, bert)
	c.awaitBound("l1")
	db := fmt.Sprint(c.lastStatus().Serving.Ports["db"])
	require.Equal(t, []string{
		"connect anna annas-password da r00t-secret " + db,
		"connect bert berts-password db r00t-secret " + db,
	}, noted(t, root))

	c.let("l2", bert)
	c.awaitBound("l2")
	require.Equal(t, []string{"disconnect anna da", "connect bert berts-password db r00t-secret " + db}, noted(t, root)[2:],
		"who is sent away goes first")

	// Another agent, in another folder: what was let in is known beside the volume.
	require.NoError(t, a.stop())
	c.forget()
	c.let("l3", anna)
	startWith(t, c, t.TempDir(), root, nil)
	c.awaitBound("l3")
	require.Equal(t, "disconnect bert db", noted(t, root)[4])
	kept, err := os.ReadFile(filepath.Join(root, "vol-1", "bound.json"))
	require.NoError(t, err)
	require.JSONEq(t, `[{"user":"anna","database":"da"}]`, string(kept))
	requireMode(t, filepath.Join(root, "vol-1", "bound.json"), 0o600)
	requireMode(t, filepath.Join(root, "vol-1", "data"), 0o700)
}

// A new start of the runtime may know nothing.
func TestBindingsAreMadeKnownToEveryNewStart(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, nil))
	c.let("l1", anna)
	startWith(t, c, t.TempDir(), root, nil)
	at := c.awaitServing(ref)
	c.awaitBound("l1")
	killApp(t, mustGet(t, at+"/pid"))
	require.Eventually(t, func() bool { return len(noted(t, root)) == 2 }, patience, 5*time.Millisecond)
	c.awaitBound("l1")
}

func TestNoListIsNoReasonToSendAnybodyAway(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, nil))
	c.let("l1", anna)
	startWith(t, c, t.TempDir(), root, nil)
	at := c.awaitServing(ref)
	c.awaitBound("l1")
	c.mu.Lock()
	c.noList = true
	c.mu.Unlock()
	killApp(t, mustGet(t, at+"/pid"))
	c.await("up again", func(s wire.Status) bool { return s.Restarts == 1 && s.Phase == wire.PhaseReady })
	c.mu.Lock()
	c.noList = false
	c.mu.Unlock()
	c.awaitBound("l1")
	for _, line := range noted(t, root) {
		require.NotContains(t, line, "disconnect")
	}
}

func TestFailedConnectIsSaidWithoutSecretsAndTriedAgain(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	plan := servicePlan(t, map[string]string{
		"connect": `read -r b; if [ ! -e "${NOTES%notes}open" ]; then echo "no $b for $ROOT" >&2; exit 7; fi; exec < /dev/null`,
	})
	ref := c.provide("r1", plan)
	var log syncBuffer
	startWith(t, c, t.TempDir(), root, log.logger())
	c.awaitServing(ref)
	c.let("l1", anna, bert)
	s := c.await("a failure", func(s wire.Status) bool { return s.BindError != "" })
	require.Equal(t, `connecting "anna": exit status 7: no anna *** da for *** (and 1 more)`, s.BindError)
	require.Empty(t, s.Bound)
	require.NoError(t, os.WriteFile(filepath.Join(root, "vol-1", "data", "open"), nil, 0o600))
	c.awaitBound("l1")
	for _, secret := range []string{anna.Password, bert.Password, "r00t-secret"} {
		require.NotContains(t, log.String(), secret)
	}
}

func TestActionThatHangsIsEndedWithWhatItStarted(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	plan := servicePlan(t, map[string]string{"connect": `setsid sleep 1000 & sleep 1000`})
	plan.Service.Connect.Timeout = 200 * time.Millisecond
	ref := c.provide("r1", plan)
	a := startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	c.let("l1", anna)
	c.await("a failure", func(s wire.Status) bool {
		return strings.HasPrefix(s.BindError, `connecting "anna": it did not end within 200ms`)
	})
	require.Eventually(t, func() bool { return len(marked(t, a.dir)) == 1 }, patience, time.Millisecond, "the app alone is left")
}

func TestStopEndsAnAction(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	ref := c.provide("r1", servicePlan(t, map[string]string{"connect": `echo begun >> "$NOTES"; sleep 1000`}))
	a := startWith(t, c, t.TempDir(), root, nil)
	c.awaitServing(ref)
	c.let("l1", anna)
	require.Eventually(t, func() bool { return len(noted(t, root)) > 0 }, patience, time.Millisecond)
	require.NoError(t, a.stop())
	require.Empty(t, marked(t, a.dir))
	require.Empty(t, c.lastStatus().BindError, "that the agent stops is not the action's fault")
}

func TestSwitchEndsAnAction(t *testing.T) {
	t.Parallel()
	c, root := newControlPlane(t), t.TempDir()
	plan := servicePlan(t, map[string]string{"connect": `if [ ! -e "$NOTES" ]; then echo begun > "$NOTES"; sleep 1000; fi`})
	ref := c.provide("r1", plan)
	var log syncBuffer
	startWith(t, c, t.TempDir(), root, log.logger())
	c.awaitServing(ref)
	c.let("l1", anna)
	require.Eventually(t, func() bool { return len(noted(t, root)) > 0 }, patience, time.Millisecond)
	c.provide("r2", plan)
	c.awaitBound("l1")
	require.Contains(t, log.String(), "the runtime stops")
	require.NotContains(t, log.String(), "signal: killed", "it was not told to end before the runtime was swept")
}
