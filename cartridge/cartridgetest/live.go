package cartridgetest

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// The promises about running plans.

func comesUp(t *testing.T, typ cartridge.Type, c Case) {
	r := Start(t, typ, c)
	r.wants(c)
	r.Stop()
}

func listensOnlyOnLoopback(t *testing.T, typ cartridge.Type, c Case) {
	r := Start(t, typ, c)
	ports := map[int]bool{}
	for _, l := range listeners(t, r.pids()) {
		require.True(t, l.addr.IsLoopback(), "listens on %v port %d, which other machines can reach", l.addr, l.port)
		ports[l.port] = true
	}
	for name, n := range r.Ports {
		require.True(t, ports[n], "nothing listens on port %q", name)
	}
	r.Stop()
}

// leavesReleaseAlone: a release is shared by runtimes, and immutable.
func leavesReleaseAlone(t *testing.T, typ cartridge.Type, c Case) {
	r := Start(t, typ, c)
	before := listing(t, r.Release)
	r.wants(c)
	r.Stop()
	require.Equal(t, before, listing(t, r.Release), "files of the release changed")
}

// runsBesideItself is what every roll-out does: same machine, same data folder.
func runsBesideItself(t *testing.T, typ cartridge.Type, c Case) {
	m := newMachine(t, typ, c)
	one, two := m.start("1"), m.start("2")
	one.wants(c)
	two.wants(c)
	one.Stop()
	two.wants(c)
	two.Stop()
}

// startsAgainAfterCrash: in the same folder, with the sockets and pid files of
// the former one still there.
func startsAgainAfterCrash(t *testing.T, typ cartridge.Type, c Case) {
	m := newMachine(t, typ, c)
	m.start("1").Kill()
	again := m.start("1")
	again.wants(c)
	again.Stop()
}

// stopsGracefully: told to stop, it finishes what it has begun, in time, and
// leaves nothing behind.
func stopsGracefully(t *testing.T, typ cartridge.Type, c Case) {
	r := Start(t, typ, c)
	r.wants(c)
	if c.Slow == "" {
		r.Stop()
		return
	}
	resp, err := http.Get(r.URL + c.Slow)
	require.NoError(t, err)
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	_, err = body.ReadByte()
	require.NoError(t, err)
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.signal(r.stopSignal()) }()
	rest, err := io.ReadAll(body)
	require.NoError(t, err, "the answer was cut\n%s", r.Log())
	require.Regexp(t, `done\s*$`, string(rest), "the answer was cut")
	<-stopped
	r.Stop()
}

func runsUnprivileged(t *testing.T, typ cartridge.Type, c Case) {
	if os.Geteuid() == 0 {
		c.User = Unprivileged
	}
	r := Start(t, typ, c)
	if c.User != 0 {
		for _, pid := range r.pids() {
			uid, ok := uidOf(pid)
			require.True(t, !ok || uid == c.User, "process %d runs as uid %d", pid, uid)
		}
	}
	r.wants(c)
	r.Stop()
}

// wants asks for every page of the case.
func (r *Runtime) wants(c Case) {
	r.t.Helper()
	for _, path := range slices.Sorted(maps.Keys(c.Want)) {
		status, body := r.Get(path)
		require.Equal(r.t, http.StatusOK, status, "GET %s: %s\n%s", path, body, r.Log())
		require.Contains(r.t, body, c.Want[path], "GET %s\n%s", path, r.Log())
	}
}

// listing describes every file below dir.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%s %v %d %v", name, info.Mode(), info.Size(), info.ModTime()))
		return nil
	}))
	return all
}
