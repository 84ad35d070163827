package cartridgetest

import (
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge"
)

// searched is where programs are looked for after PATH: nginx and php-fpm are
// in folders that ordinary users do not have in theirs.
const searched = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// machine is an instance with a built release, without a runtime yet.
type machine struct {
	t    testing.TB
	root string
	plan cartridge.Plan
	user int

	besides int // runtimes started by Beside
	secrets map[string]string
}

// Start builds the case's release and brings it up, as an agent does. The
// test fails if it does not become healthy; what still runs at its end is killed.
func Start(t testing.TB, typ cartridge.Type, c Case) *Runtime {
	t.Helper()
	return newMachine(t, typ, c).start("1")
}

// Launch is [Start] that does not wait: for what never becomes healthy.
func Launch(t testing.TB, typ cartridge.Type, c Case) *Runtime {
	t.Helper()
	return newMachine(t, typ, c).launch("1")
}

func newMachine(t testing.TB, typ cartridge.Type, c Case) *machine {
	t.Helper()
	p := plan(t, typ, c)
	require.NoError(t, p.Check())
	m := &machine{t: t, root: tempDir(t), plan: p.WithDefaults(), user: c.User, secrets: map[string]string{}}
	for _, name := range p.Secrets {
		m.secrets[name] = strings.ToLower(rand.Text())
	}
	for _, v := range p.Volumes {
		for _, d := range append([]string{"."}, v.Dirs...) {
			m.mkdir(filepath.Join(m.volumes()[v.Name], d))
		}
	}
	for name, text := range c.Files {
		file := filepath.Join(m.release(), name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), mode(text)))
	}
	for _, b := range p.Build {
		m.build(b)
	}
	for _, d := range append([]string{"."}, p.DataDirs...) {
		m.mkdir(filepath.Join(m.data(), d))
	}
	for _, l := range p.Links {
		to, at := filepath.Join(m.volumes()[l.Volume], l.Dir), filepath.Join(m.release(), l.Path)
		m.mkdir(to)
		require.NoError(t, os.RemoveAll(at))
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.Symlink(to, at))
	}
	return m
}

func (m *machine) release() string { return filepath.Join(m.root, "release") }
func (m *machine) data() string    { return filepath.Join(m.root, "data") }

// volumes are the folders of the plan's volumes, by name.
func (m *machine) volumes() map[string]string {
	all := map[string]string{}
	for _, v := range m.plan.Volumes {
		all[v.Name] = filepath.Join(m.root, "volumes", v.Name)
	}
	return all
}

// tempDir is t.TempDir for the eyes of other users, too. Its name has a space,
// and is too long for the address of a unix socket: no plan should mind.
func tempDir(t testing.TB) string {
	t.Helper()
	top, err := os.MkdirTemp("", "cartridge test ")
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(top); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	require.NoError(t, os.Chmod(top, 0o755))
	dir := filepath.Join(top, strings.Repeat("long", 30))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "release"), 0o755))
	return dir
}

// mkdir makes a folder that belongs to the runtime.
func (m *machine) mkdir(dir string) {
	m.t.Helper()
	require.NoError(m.t, os.MkdirAll(dir, 0o700))
	m.own(dir)
}

func (m *machine) own(name string) {
	m.t.Helper()
	if m.user != 0 {
		require.NoError(m.t, os.Chown(name, m.user, m.user))
	}
}

// build runs one command as the test's user: HOME is kept for its caches.
func (m *machine) build(b cartridge.Command) {
	m.t.Helper()
	name := b.Args[0]
	if !strings.Contains(name, "/") {
		path, err := exec.LookPath(name)
		require.NoError(m.t, err, "the build needs %s: apt-get install %s", name, b.Package)
		name = path
	}
	cmd := exec.CommandContext(m.t.Context(), name, b.Args[1:]...)
	cmd.Dir = m.release()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
	for k, v := range b.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(m.t, err, "%v: %s", b.Args, out)
}

// find returns the path of a program of the plan.
func (m *machine) find(g cartridge.Program) string {
	m.t.Helper()
	for _, n := range g.Names {
		// The machine's own come before PATH, whose programs may be somebody's
		// wrappers that other users cannot run.
		for _, dir := range filepath.SplitList(searched + ":" + os.Getenv("PATH")) {
			file := filepath.Join(dir, n)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file
			}
		}
	}
	require.Failf(m.t, "a program is missing", "%s: apt-get install %s", strings.Join(g.Names, " or "), g.Package)
	return ""
}

// freePort returns a port that nobody listens on. Nobody keeps it for us,
// either: there are thousands, so that a collision within the next
// milliseconds is not to be expected.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
