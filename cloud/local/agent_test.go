package local_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

// app is what a tenant runs: this program again, as nobody's agent.
func app() {
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getpid())
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// platform is the agent's peer: it assigns one release and hears the status.
type platform struct {
	assignment wire.Assignment
	archive    []byte

	mu     sync.Mutex
	status wire.Status
}

func (p *platform) handler() http.Handler {
	mux := http.NewServeMux()
	assign := func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(p.assignment) }
	mux.HandleFunc("POST "+wire.JoinPath, assign)
	mux.HandleFunc("GET "+wire.AssignmentPath, assign)
	mux.HandleFunc("GET "+wire.ArchivePath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(p.archive) })
	mux.HandleFunc("POST "+wire.LogsPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST "+wire.StatusPath, func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.status = wire.Status{}
		if err := json.NewDecoder(r.Body).Decode(&p.status); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (p *platform) heard() wire.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func emptyArchive(t *testing.T) (b []byte, digest string) {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "README", Mode: 0o644, Typeflag: tar.TypeReg}))
	require.NoError(t, w.Close())
	sum := sha256.Sum256(buf.Bytes())
	return buf.Bytes(), "sha256-" + hex.EncodeToString(sum[:])
}

// The whole way: an instance is launched, its agent joins and serves a release,
// and nothing of it is left when it is terminated, or its agent killed.
func TestInstanceServesAndEnds(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		end  func(t testing.TB, agent int)
	}{
		{"terminated", func(testing.TB, int) {}},
		{"killed, then terminated", kill},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &platform{}
			p.archive, p.assignment.Archive = emptyArchive(t)
			p.assignment.Revision, p.assignment.PlanID, p.assignment.Heartbeat = "r1", "plan1", time.Second
			p.assignment.Plan = cartridge.Plan{
				V: cartridge.PlanVersion, Cartridge: "proc",
				Ports:     []cartridge.Port{{Name: "http"}},
				Processes: []cartridge.Process{{Name: "web", Args: []string{exe}, Env: map[string]string{"TEST_APP": "1"}}},
			}
			server := httptest.NewServer(p.handler())
			defer server.Close()

			dir := t.TempDir()
			d := open(t, dir)
			s := spec("m1", "real")
			s.UserData, err = json.Marshal(wire.UserData{V: wire.Version, Control: []string{server.URL}, Cluster: "real", Member: "m1", Token: "once"})
			require.NoError(t, err)
			_, err = d.Launch(t.Context(), s)
			require.NoError(t, err)
			eventually(t, "it is ready", func() bool { return p.heard().Phase == wire.PhaseReady })

			answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", p.heard().Serving.Ports["http"]))
			require.NoError(t, err)
			b, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			var serving int
			_, err = fmt.Sscan(string(b), &serving)
			require.NoError(t, err)
			require.True(t, runs(t, serving))
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", serving))
			require.NoError(t, err)
			require.True(t, local.Marked(string(environ), filepath.Join(dir, "instances", "m1")))

			test.end(t, agentPID(t, dir, "m1"))
			require.NoError(t, d.Terminate(t.Context(), "m1"))
			eventually(t, "it is gone", func() bool { return stateOf(t, d, "m1") == "absent" })
			require.False(t, runs(t, serving))
		})
	}
}

// Without its control plane an instance goes on.
func TestAgentWaitsForItsControlPlane(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	s := spec("m1", "real")
	var err error
	s.UserData, err = json.Marshal(wire.UserData{V: wire.Version, Control: []string{"http://127.0.0.1:1"}, Cluster: "real", Member: "m1", Token: "once"})
	require.NoError(t, err)
	_, err = d.Launch(t.Context(), s)
	require.NoError(t, err)
	eventually(t, "it has made its key", func() bool {
		_, err := os.Stat(filepath.Join(dir, "instances", "m1", "agent", "key"))
		return err == nil
	})
	require.Equal(t, cloud.Running, stateOf(t, d, "m1"))
}
