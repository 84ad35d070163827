package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heard collects lines.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) add(source, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, source+": "+line)
}

func (h *heard) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.all...)
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = io.WriteString(f, text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestRotatedAndTruncatedFilesLoseNothing writes lines without a pause while
// the file is moved away, and copied and cut short.
func TestRotatedAndTruncatedFilesLoseNothing(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, path string, f *os.File) *os.File{
		"moved away": func(t *testing.T, path string, f *os.File) *os.File {
			require.NoError(t, os.Rename(path, path+".1"))
			n, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			require.NoError(t, err)
			_, err = io.WriteString(f, "late\n") // the writer notices later
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return n
		},
		"copied and cut": func(t *testing.T, path string, f *os.File) *os.File {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path+".1", text, 0o600))
			require.NoError(t, os.Truncate(path, 0))
			_, err = io.WriteString(f, "late\n")
			require.NoError(t, err)
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, h := t.TempDir(), &heard{}
			path := filepath.Join(dir, "app.log")
			tails := followFiles(dir, []string{"app.log"}, h.add)
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			require.NoError(t, err)
			var want []string
			for round := range 4 {
				for i := range 200 {
					line := fmt.Sprintf("round %d line %d", round, i)
					want = append(want, "app.log: "+line)
					_, err := io.WriteString(f, line+"\n")
					require.NoError(t, err)
				}
				seen := len(want)
				require.Eventually(t, func() bool { return len(h.lines()) > seen-150 }, 30*time.Second, time.Millisecond, "it follows")
				// Some more that it surely has not seen when the file is rotated.
				_, err := io.WriteString(f, "unseen\n")
				require.NoError(t, err)
				f = rotate(t, path, f)
				want = append(want, "app.log: unseen", "app.log: late")
				require.Eventually(t, func() bool { return len(h.lines()) == len(want) }, 30*time.Second, time.Millisecond, "%v", h.lines())
			}
			require.NoError(t, f.Close())
			tails.stop()
			require.Equal(t, want, h.lines())
		})
	}
}

func TestTailedLines(t *testing.T) {
	dir, h := t.TempDir(), &heard{}
	path := filepath.Join(dir, "log")
	tails := followFiles(dir, []string{"log", "never", "pipe", "out"}, h.add)
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret\n"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	appendTo(t, path, "whole\r\nha")
	require.Eventually(t, func() bool { return len(h.lines()) == 1 }, 30*time.Second, time.Millisecond)
	appendTo(t, path, "lf\n"+strings.Repeat("ż", maxLine)+"\nlast without an end")
	require.Eventually(t, func() bool { return len(h.lines()) >= 4 }, 30*time.Second, time.Millisecond)
	tails.stop()
	lines := h.lines()
	require.Equal(t, []string{"log: whole", "log: half"}, lines[:2])
	require.Equal(t, strings.Repeat("ż", maxLine), strings.ReplaceAll(strings.Join(lines[2:len(lines)-1], ""), "log: ", ""), "split, and no character with it")
	require.Equal(t, "log: last without an end", lines[len(lines)-1])
	require.NotContains(t, strings.Join(lines, "\n"), "secret")
}
