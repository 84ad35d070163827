package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/tenant"
)

// requireOnly looks whether path is the only file of its folder, for its owner alone.
func requireOnly(t *testing.T, path string) {
	t.Helper()
	in, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, in, 1)
	require.Equal(t, filepath.Base(path), in[0].Name())
	info, err := in[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

// recordsOf are the records of the store at path, at a revision; 0: the newest.
func recordsOf(t *testing.T, path string, at store.Revision) (store.Page, store.ID) {
	t.Helper()
	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	page, err := s.List(t.Context(), "", store.ReadOptions{At: at})
	require.NoError(t, err)
	id, err := s.ID(t.Context())
	require.NoError(t, err)
	return page, id
}

// busy writes records through the API until the test calls what it returns,
// which says how many were acknowledged.
func busy(t *testing.T, api *client.Client) (started <-chan struct{}, stop func() int64) {
	t.Helper()
	var writers sync.WaitGroup
	var made atomic.Int64
	end, some := make(chan struct{}), make(chan struct{})
	for i := range 4 {
		writers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := api.NewToken(t.Context(), tenant.TokenBalancer, fmt.Sprint("edge-", i)); err != nil {
					t.Errorf("a write beside the backup: %v", err)
					return
				}
				if made.Add(1) == 50 {
					close(some)
				}
			}
		})
	}
	return some, func() int64 {
		close(end)
		writers.Wait()
		return made.Load()
	}
}

// TestOnlineBackup backs up a platform that runs and is written to, restores
// into another folder, and compares record by record.
func TestOnlineBackup(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q}", dir, api), 0o600))
	s := startServe(t, "-c", file)
	admin, at := filepath.Join(dir, "admin.token"), "http://"+api
	to := filepath.Join(t.TempDir(), "backup.db")
	backup := func(args ...string) (int, string, string) {
		return stratosCommand(t.Context(), append([]string{"store", "backup", "-control", at, "-token-file", admin, "-o", to}, args...)...)
	}
	require.Eventually(t, func() bool {
		code, _, _ := stratosCommand(t.Context(), "holds", "--control", at, "--token-file", admin)
		return code == 0
	}, wait, look, "%s", s.log)

	control := controlFlags{urls: []string{at}, tokenFile: admin}
	writer, err := control.client()
	require.NoError(t, err)
	started, stop := busy(t, writer)
	<-started
	code, out, errs := backup()
	require.Zero(t, code, errs)
	require.Regexp(t, `^`+to+`: store [0-9a-f-]{36}, generation 1, [0-9.]+ [kM]B\n$`, out)
	require.Regexp(t, `^ \d+ % of .*\n`, errs, "progress")
	require.Contains(t, errs, "100 % of ")
	requireOnly(t, to)
	first, err := os.ReadFile(to)
	require.NoError(t, err)

	code, _, errs = backup()
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is not overwritten")
	again, err := os.ReadFile(to)
	require.NoError(t, err)
	require.True(t, bytes.Equal(first, again))
	code, _, errs = backup("-force")
	require.Zero(t, code, errs)
	requireOnly(t, to)
	made := stop()
	require.Zero(t, s.stop(t), s.log)
	require.Contains(t, s.log.String(), "a backup was taken")

	fresh := filepath.Join(t.TempDir(), "fresh")
	code, _, errs = stratosCommand(t.Context(), "store", "restore", to, "--dir", fresh)
	require.Zero(t, code, errs)
	restored, after := recordsOf(t, filepath.Join(fresh, storeFile), 0)
	lived, before := recordsOf(t, filepath.Join(dir, storeFile), restored.Rev)
	require.Equal(t, lived.KVs, restored.KVs, "the records at the revision of the backup")
	require.Equal(t, before.UUID, after.UUID)
	require.Equal(t, before.Generation+1, after.Generation)
	now, _ := recordsOf(t, filepath.Join(dir, storeFile), 0)
	require.Greater(t, now.Rev, restored.Rev, "nothing was written beside the backup: the test is blind")
	t.Logf("%d records of %d bytes at revision %d; %d tokens made beside it", len(restored.KVs), len(first), restored.Rev, made)
}

func TestBackupIsForAdministrators(t *testing.T) {
	dir, api := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "{name: test, dir: %q, listen: none, api: %q}", dir, api), 0o600))
	s := startServe(t, "-c", file)
	admin, at := filepath.Join(dir, "admin.token"), "http://"+api
	var secret string
	require.Eventually(t, func() bool {
		code, out, _ := stratosCommand(t.Context(), "token", "balancer", "edge", "--control", at, "--token-file", admin)
		secret = strings.TrimSpace(out)
		return code == 0
	}, wait, look, "%s", s.log)
	to := filepath.Join(t.TempDir(), "backup.db")
	for _, c := range []struct{ name, token, want string }{
		{"a balancer", tokenFile(t, secret), "this takes an administrator's"},
		{"nobody we know", tokenFile(t, "hunter2"), "holds no token of this control plane"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := stratosCommand(t.Context(), "store", "backup", "--control", at, "--token-file", c.token, "-o", to)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.Empty(t, out)
			left, err := os.ReadDir(filepath.Dir(to))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	require.Zero(t, s.stop(t), s.log)
}

// TestABackupThatIsCutOff leaves nothing, not even in place of an older one.
func TestABackupThatIsCutOff(t *testing.T) {
	digest := "sha-256=:" + strings.Repeat("A", 43) + "=:" // of nothing that is sent here
	for _, c := range []struct {
		name    string
		answer  func(w http.ResponseWriter)
		want    string
		isThere bool
	}{
		{name: "cut", want: "cut off after 5000 of 10000 bytes", answer: func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10000")
			w.Header().Set(client.BackupDigest, digest)
			_, _ = w.Write(make([]byte, 5000)) // the command says what it misses
		}},
		{name: "cut, over an older one", isThere: true, want: "cut off after 5000 of 10000 bytes", answer: func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10000")
			w.Header().Set(client.BackupDigest, digest)
			_, _ = w.Write(make([]byte, 5000)) // the command says what it misses
		}},
		{name: "changed", want: "its digest does not fit", answer: func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10000")
			w.Header().Set(client.BackupDigest, digest)
			_, _ = w.Write(make([]byte, 10000)) // the command says what it misses
		}},
		{name: "no control plane", want: "is no backup: it has no digest", answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			defer server.Close()
			to := filepath.Join(t.TempDir(), "backup.db")
			args := []string{"store", "backup", "--control", server.URL, "--token-file", tokenFile(t, "secret"), "-o", to}
			if c.isThere {
				require.NoError(t, os.WriteFile(to, []byte("older"), 0o600))
				args = append(args, "--force")
			}
			code, out, errs := stratosCommand(t.Context(), args...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.Empty(t, out)
			if c.isThere {
				requireOnly(t, to)
				older, err := os.ReadFile(to)
				require.NoError(t, err)
				require.Equal(t, "older", string(older))
				return
			}
			left, err := os.ReadDir(filepath.Dir(to))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		name     string
		terminal bool
		want     string
	}{
		{"a file", false, " 50 % of 2.0 kB\n100 % of 2.0 kB\n"},
		{"a terminal", true, "\r 50 % of 2.0 kB\r 52 % of 2.0 kB\r100 % of 2.0 kB\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told bytes.Buffer
			p := newProgress(&told, 2000)
			if c.terminal {
				p.terminal, p.step = true, 1
			}
			for _, n := range []int{5, 1000, 5, 30, 960} {
				_, err := p.Write(make([]byte, n))
				require.NoError(t, err)
			}
			p.end()
			require.Equal(t, c.want, told.String())
		})
	}
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 12_345_678: "12.3 MB", 5e15: "5000.0 TB"} {
		require.Equal(t, want, inBytes(n))
	}
}
