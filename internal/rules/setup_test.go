package rules_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// system is a machine for scripts/setup.sh: a PATH of its own, with a package
// manager that only writes down what it is asked for.
type system struct {
	t    *testing.T
	root string // stands for /
}

func newSystem(t *testing.T) *system {
	s := &system{t: t, root: t.TempDir()}
	for _, dir := range []string{"bin", "usr/sbin", "var/lib/apt/lists"} {
		require.NoError(t, os.MkdirAll(s.path(dir), 0o755))
	}
	for _, name := range []string{"ls", "rm", "chmod", "mkdir"} {
		real, err := exec.LookPath(name)
		require.NoError(t, err, "this test needs the program %s", name)
		require.NoError(t, os.Symlink(real, s.path("bin/"+name)))
	}
	s.user(0)
	s.write("var/lib/apt/lists/x_Packages", "")
	s.program("bin/apt-get", `
printf '%s %s' "${DEBIAN_FRONTEND:-}" "$*" >>"$SETUP_ROOT/log"
if [ -e "$SETUP_ROOT/usr/sbin/policy-rc.d" ]; then printf ' quiet' >>"$SETUP_ROOT/log"; fi
echo >>"$SETUP_ROOT/log"
[ "$1" = install ] || exit 0
if [ -e "$SETUP_ROOT/hang" ]; then : >"$SETUP_ROOT/started"; exec /bin/sleep 60; fi
if [ -e "$SETUP_ROOT/broken" ]; then exit 100; fi
if [ -e "$SETUP_ROOT/stale" ]; then rm "$SETUP_ROOT/stale"; exit 100; fi
for p; do
	case $p in
	php-fpm) p=php-fpm8.2 ;;
	nginx-light) p=nginx ;;
	default-jre-headless) p=java ;;
	mariadb-server) p=mariadbd ;;
	bubblewrap) p=bwrap ;;
	iproute2) p=ip ;;
	tomcat10-user) at=$SETUP_ROOT/usr/share/tomcat10/lib; mkdir -p "$at"; : >"$at/catalina.jar"; continue ;;
	wordpress) at=$SETUP_ROOT/usr/share/wordpress/wp-content/themes/twentytwentythree; mkdir -p "$at"; : >"$at/theme.json"; continue ;;
	libmariadb-java) at=$SETUP_ROOT/usr/share/java; mkdir -p "$at"; : >"$at/mariadb-java-client.jar"; continue ;;
	php-mysql) at=$SETUP_ROOT/usr/lib/php/20220829; mkdir -p "$at"; : >"$at/mysqli.so"; continue ;;
	tomcat10-examples) at=$SETUP_ROOT/usr/share/tomcat10-examples/examples; mkdir -p "$at"; : >"$at/index.html"; continue ;;
	-*|install) continue ;;
	esac
	printf '#!/bin/sh\n' >"$SETUP_ROOT/usr/sbin/$p"
	chmod 755 "$SETUP_ROOT/usr/sbin/$p"
done`)
	return s
}

func (s *system) path(name string) string { return filepath.Join(s.root, name) }

func (s *system) write(name, text string) {
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *system) program(name, text string) {
	s.write(name, "#!/bin/sh\n"+text+"\n")
	require.NoError(s.t, os.Chmod(s.path(name), 0o755))
}

func (s *system) user(id int) { s.program("bin/id", fmt.Sprintf("echo %d", id)) }

func (s *system) remove(name string) { require.NoError(s.t, os.Remove(s.path(name))) }

// has puts programs there that need not be installed.
func (s *system) has(names ...string) {
	for _, n := range names {
		s.program("bin/"+n, "")
	}
}

// log is what the package manager was asked for.
func (s *system) log() string {
	b, err := os.ReadFile(s.path("log"))
	if !os.IsNotExist(err) {
		require.NoError(s.t, err)
	}
	return string(b)
}

func (s *system) command(args ...string) *exec.Cmd {
	script, err := filepath.Abs(filepath.Join(root, "scripts/setup.sh"))
	require.NoError(s.t, err)
	cmd := exec.Command("/bin/sh", append([]string{script}, args...)...)
	cmd.Env = []string{"PATH=" + s.path("bin"), "SETUP_ROOT=" + s.root}
	return cmd
}

// setup runs the script without a terminal.
func (s *system) setup(args ...string) (code int, output string) {
	s.t.Helper()
	cmd := s.command(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(s.t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// What is asked of the package manager where nothing is there.
const (
	packages   = "git php-fpm nginx-light python3 default-jre-headless tomcat10-user php-mysql mariadb-server bubblewrap"
	everything = "noninteractive install -y --no-install-recommends " + packages + " quiet\n"
	tests      = "noninteractive install -y --no-install-recommends " + packages + " gcc libc6-dev iproute2 wordpress wordpress-theme-twentytwentythree php-gd php-xml php-mbstring php-curl libmariadb-java redis-server tomcat10-examples quiet\n"
)

// programs are what the packages of users hold, as the script calls them.
const programs = "git php-fpm nginx python3 java tomcat php-mysql mariadbd bwrap"

// most puts there what a test is not about.
func (s *system) most() {
	s.has("git", "python3", "gcc", "ip", "java", "mariadbd", "bwrap", "redis-server")
	for _, file := range []string{"usr/share/java/mariadb-java-client.jar", "usr/share/wordpress/wp-content/themes/twentytwentythree/theme.json", "usr/lib/php/20220829/mysqli.so", "usr/share/tomcat10/lib/catalina.jar", "usr/share/tomcat10-examples/examples/index.html"} {
		require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(file)), 0o755))
		s.write(file, "")
	}
}

func TestSetup(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(s *system)
		args    []string
		code    int
		says    []string // nothing: it is silent
		log     string
	}{
		{"nothing is missing", func(s *system) { s.most(); s.has("php-fpm8.4", "nginx") }, nil, 0, nil, ""},
		{"servers are in the system's folders", func(s *system) {
			s.most()
			s.program("usr/sbin/nginx", "")
			s.program("usr/sbin/php-fpm8.2", "")
		}, []string{"-test"}, 0, nil, ""},
		{"everything is missing", func(*system) {}, []string{"-yes"}, 0, []string{"missing: " + programs, "  apt-get install -y --no-install-recommends " + packages + "\n"}, everything},
		{"only what is missing is installed", (*system).most, []string{"-yes", "-test"}, 0, []string{"missing: php-fpm nginx"},
			"noninteractive install -y --no-install-recommends php-fpm nginx-light quiet\n"},
		{"nobody to ask", func(*system) {}, nil, 0, []string{"scripts/setup.sh -yes"}, ""},
		{"nobody to ask, for tests", func(*system) {}, []string{"-test"}, 1, []string{"the tests need these programs: " + programs}, ""},
		{"no lists", func(s *system) { s.remove("var/lib/apt/lists/x_Packages") }, []string{"-yes"}, 0, []string{"missing:"}, "noninteractive update quiet\n" + everything},
		{"old lists", func(s *system) { s.write("stale", "") }, []string{"-yes"}, 0, []string{"missing:"}, everything + "noninteractive update quiet\n" + everything},
		{"nothing can be installed", func(s *system) { s.write("broken", "") }, []string{"-yes"}, 0, []string{"did not succeed"}, everything + "noninteractive update quiet\n" + everything},
		{"nothing can be installed, for tests", func(s *system) { s.write("broken", "") }, []string{"-yes", "-test"}, 1, []string{"the tests need these programs: " + programs + " gcc"},
			tests + "noninteractive update quiet\n" + tests},
		{"not root", func(s *system) { s.user(1000) }, []string{"-yes"}, 0, []string{"as root:\n  apt-get install"}, ""},
		{"not root, with sudo", func(s *system) { s.user(1000); s.has("sudo") }, []string{"-yes"}, 0, []string{"  sudo apt-get install -y --no-install-recommends git"}, ""},
		{"not root, for tests", func(s *system) { s.user(1000); s.most(); s.has("nginx"); s.remove("bin/python3") }, []string{"-yes", "-test"}, 1, []string{"the tests need these programs: php-fpm python3"}, ""},
		{"another system", func(s *system) { s.remove("bin/apt-get") }, []string{"-yes"}, 0, []string{"this system's package manager"}, ""},
		{"another system, for tests", func(s *system) { s.remove("bin/apt-get") }, []string{"-yes", "-test"}, 1, []string{"the tests need these programs:"}, ""},
		{"wrong argument", func(*system) {}, []string{"-y"}, 2, []string{"unknown argument -y"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t)
			c.prepare(s)
			code, out := s.setup(c.args...)
			require.Equal(t, c.code, code, out)
			if c.says == nil {
				require.Empty(t, out)
			}
			for _, want := range c.says {
				require.Contains(t, out, want)
			}
			require.Equal(t, c.log, s.log())
			require.NoFileExists(t, s.path("usr/sbin/policy-rc.d"), "what forbids services must not stay")
		})
	}
}

func TestSetupLeavesThePolicyOfOthers(t *testing.T) {
	s := newSystem(t)
	s.program("usr/sbin/policy-rc.d", "exit 0")
	code, out := s.setup("-yes")
	require.Zero(t, code, out)
	b, err := os.ReadFile(s.path("usr/sbin/policy-rc.d"))
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\nexit 0\n", string(b))
}

func TestSetupInterrupted(t *testing.T) {
	// What is ignored in the test's process (nohup, a job in the background) is
	// ignored in its children, and no script can change that; what is caught is not.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			s := newSystem(t)
			s.write("hang", "")
			cmd := s.command("-yes")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool {
				_, err := os.Stat(s.path("started"))
				return err == nil
			}, 30*time.Second, 5*time.Millisecond)
			require.FileExists(t, s.path("usr/sbin/policy-rc.d"))
			require.NoError(t, syscall.Kill(-cmd.Process.Pid, sig))
			require.Error(t, cmd.Wait())
			require.Equal(t, 128+int(sig), cmd.ProcessState.ExitCode(), &out)
			require.NoFileExists(t, s.path("usr/sbin/policy-rc.d"))
		})
	}
}

func TestSetupAsks(t *testing.T) {
	for _, c := range []struct {
		name, answer, log string
	}{
		{"yes", "y\n", everything},
		{"just enter", "\n", everything},
		{"no", "n\n", ""},
		{"end of file", "\x04", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSystem(t)
			person, terminal := openTerminal(t)
			cmd := s.command()
			var out bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &out, &out
			_, err := person.WriteString(c.answer)
			require.NoError(t, err)
			require.NoError(t, cmd.Run(), &out)
			require.Contains(t, out.String(), "Install now? [Y/n]")
			require.Equal(t, c.log, s.log())
		})
	}
}

// openTerminal returns the two ends of a pseudo-terminal.
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = person.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	return person, terminal
}

// TestMakeTestIsWhatCIRuns checks that CI runs the tests as the README says.
func TestMakeTestIsWhatCIRuns(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	require.NoError(t, err)
	require.Contains(t, strings.Split(string(b), "\n"), "make test")
}
