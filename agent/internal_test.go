package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

func TestReadLines(t *testing.T) {
	long := strings.Repeat("é", maxLine) // two bytes each: a split falls into none
	tests := []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"lines", "one\ntwo\n", []string{"one", "two"}},
		{"no end", "one\ntwo", []string{"one", "two"}},
		{"empty line", "\n\nx\n", []string{"", "", "x"}},
		{"carriage return", "one\r\n", []string{"one"}},
		{"not UTF-8", "a\xffb\n", []string{"a\uFFFDb"}},
		{"cut character at the end", "a\xc3", []string{"a\uFFFD"}},
		{"long", "x" + long + "\n", []string{"x" + long[:maxLine-2], long[maxLine-2 : 2*maxLine-2], "é"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			readLines(strings.NewReader(tt.in), func(line string) { got = append(got, line) })
			require.Equal(t, tt.want, got)
		})
	}
}

func FuzzReadLines(f *testing.F) {
	f.Add("one\ntwo")
	f.Add(strings.Repeat("日", maxLine))
	f.Add("\xff\xc3\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		var got strings.Builder
		readLines(strings.NewReader(in), func(line string) {
			require.True(t, utf8.ValidString(line))
			require.NotContains(t, line, "\n")
			require.LessOrEqual(t, len(line), 3*(maxLine+utf8.UTFMax))
			got.WriteString(line)
		})
		if utf8.ValidString(in) && !strings.ContainsAny(in, "\r\n") {
			require.Equal(t, in, got.String(), "splitting changed the text")
		}
	})
}

func TestJournalNumbersAndDrops(t *testing.T) {
	j := newJournal(100)
	for i := range maxJournalLines + 5 {
		j.Add("web", fmt.Sprint(i))
	}
	require.Equal(t, uint64(100+maxJournalLines+5), j.Next())
	first, lines := j.From(100, 2, 1<<20)
	require.Equal(t, uint64(105), first, "the oldest lines are dropped")
	require.Equal(t, "5", lines[0].Text)
	require.Len(t, lines, 2)
	first, lines = j.From(j.Next(), 10, 1<<20)
	require.Equal(t, j.Next(), first)
	require.Empty(t, lines)

	big := newJournal(0)
	for range 40 {
		big.Add("web", strings.Repeat("x", 1<<20))
	}
	first, lines = big.From(0, 100, 3<<20)
	require.Equal(t, uint64(40-maxJournalBytes>>20), first, "bounded by size, too")
	require.Len(t, lines, 3)
}

func TestTailKeepsTheEnd(t *testing.T) {
	var l tail
	for i := range 5000 {
		l.Add(fmt.Sprintf("line %d é", i))
	}
	text := l.String()
	require.LessOrEqual(t, len(text), maxTail)
	require.Greater(t, len(text), maxTail-8)
	require.True(t, strings.HasSuffix(text, "line 4999 é\n"))
	require.True(t, utf8.ValidString(text))
}

func TestLogFileRotates(t *testing.T) {
	bell := make(chan struct{}, 1)
	j := newJournal(7, bell)
	path := filepath.Join(t.TempDir(), "log")
	l := &logFile{path: path, max: 1000, journal: j, bell: bell, log: slog.New(slog.DiscardHandler), next: 7}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is there is written all the same
	for i := range 25 {
		j.Add("web", fmt.Sprintf("line %d %s", i, strings.Repeat("x", 100)))
		l.Run(ctx)
	}
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	before, err := os.ReadFile(path + ".1")
	require.NoError(t, err)
	require.Less(t, len(now), 1200)
	require.Contains(t, string(now), "line 24 ")
	require.GreaterOrEqual(t, len(before), 1000)
	all := string(before) + string(now)
	require.Contains(t, all, "line 20 ")
	require.NotContains(t, all, "line 1 ", "two files, not more")
	require.NotContains(t, all, "missing")
}

func TestLogNumbersSurviveAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.next")
	n, err := openNumbers(path)
	require.NoError(t, err)
	require.Zero(t, n)
	s := &shipper{path: path}
	require.NoError(t, s.reserve(123))
	n, err = openNumbers(path)
	require.NoError(t, err)
	require.Equal(t, uint64(123), n)
	require.NoError(t, os.WriteFile(path, []byte("what"), 0o600))
	_, err = openNumbers(path)
	require.ErrorContains(t, err, "damaged")
}

// The kernel sends the parent-death signal when the thread that started the
// child ends; so no child may be started from the caller's thread.
func TestStarterOutlivesTheThreadOfItsCaller(t *testing.T) {
	s := newStarter()
	ended := make(chan struct{})
	go func() { defer close(ended); s.run() }()
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	thread := make(chan int)
	inThreadThatEnds(t, func() {
		if err := s.start(cmd); err != nil {
			t.Error(err)
		}
		thread <- syscall.Gettid()
	})
	tid := <-thread
	require.Eventually(t, func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
		return os.IsNotExist(err)
	}, 10*time.Second, time.Millisecond, "the caller's thread does not end")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.EqualError(t, cmd.Wait(), "signal: terminated", "it was killed with the thread of its caller")
	s.close()
	<-ended
}

// inThreadThatEnds calls f on a thread that ends after it.
func inThreadThatEnds(t *testing.T, f func()) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if syscall.Gettid() == syscall.Getpid() {
			// The first thread never ends. Keep it busy, so that the next
			// goroutine has another one.
			go inThreadThatEnds(t, f)
			<-release
			return
		}
		f()
	}()
}

func TestPortsAreClaimedOnce(t *testing.T) {
	seen := map[int]bool{}
	var all []portClaims
	for range 200 {
		c, err := claimPorts([]string{"http", "admin"})
		require.NoError(t, err)
		all = append(all, c)
		for _, n := range c.numbers() {
			require.False(t, seen[n], "port %d twice", n)
			require.True(t, n >= firstPort && n <= lastPort)
			seen[n] = true
		}
	}
	require.True(t, all[0].free())
	for _, c := range all {
		require.NoError(t, c.release())
	}
}

func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	one, err := openKey(path)
	require.NoError(t, err)
	two, err := openKey(path)
	require.NoError(t, err)
	require.Equal(t, one, two)
	require.NoError(t, os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600))
	_, err = openKey(path)
	require.ErrorContains(t, err, "damaged")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "a temporary file is left")
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool-2"), nil, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o644))
	p := newPrograms("relative:" + dir)
	require.NotContains(t, p.String(), "relative")
	found, err := p.resolve([]cartridge.Program{{Names: []string{"tool", "tool-2"}}, {Names: []string{"sh"}}})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "tool-2"), found["tool"])
	_, err = p.resolve([]cartridge.Program{{Names: []string{"data"}, Package: "data-pkg"}, {Names: []string{"a", "b"}}})
	require.EqualError(t, err, "not installed on the instance: data (apt-get install data-pkg); a or b")
}

func TestTCPCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	c := newChecker(cartridge.Health{Kind: cartridge.HealthTCP, Timeout: time.Second, Start: time.Minute}, port)
	require.NoError(t, c.check(t.Context()))
	require.NoError(t, l.Close())
	err = c.check(t.Context())
	require.Error(t, err)
	require.EqualError(t, c.late(err), fmt.Sprintf("the app did not accept a connection on port %d within 1m0s: it must listen on 127.0.0.1:$PORT", port))
}

func TestBackoff(t *testing.T) {
	b := backoff{First: time.Second, Max: 30 * time.Second, Eager: true}
	for range 2 {
		require.Zero(t, b.Next())
		for _, most := range []int{1, 2, 4, 8, 16, 30, 30} {
			d := b.Next()
			require.GreaterOrEqual(t, d, time.Duration(most)*time.Second/2)
			require.LessOrEqual(t, d, time.Duration(most)*time.Second)
		}
		b.Reset()
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	good := wire.Assignment{Revision: "abc", Archive: "sha256-" + strings.Repeat("0", 64), PlanID: "p"}
	require.NoError(t, checkNames(good))
	tests := []struct {
		name  string
		spoil func(*wire.Assignment)
	}{
		{"revision with a path", func(a *wire.Assignment) { a.Revision = "../../etc" }},
		{"revision that is a folder", func(a *wire.Assignment) { a.Revision = ".." }},
		{"archive with a query", func(a *wire.Assignment) { a.Archive += "?x" }},
		{"plan with a path", func(a *wire.Assignment) { a.PlanID = "sha256-/../../x" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := good
			tt.spoil(&a)
			var no *refusal
			require.ErrorAs(t, checkNames(a), &no)
		})
	}
}
