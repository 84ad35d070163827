package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// What the test binary does when it is started as a child process.
const (
	childEnv = "STRATOS_BOLT_TEST_CHILD"
	fileEnv  = "STRATOS_BOLT_TEST_FILE"

	childWrites = "writes" // until it is killed
	childFills  = "fills"  // until the file may not grow
	childHolds  = "holds"  // the file, until its input ends

	fileLimit = 1 << 20
)

func TestMain(m *testing.M) {
	child, ok := map[string]func(string) error{childWrites: writeForever, childFills: fillUp, childHolds: hold}[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(os.Getenv(fileEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startChild re-executes the test binary as a child. Its standard output comes back line by line.
func startChild(t *testing.T, what, path string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+what, fileEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, in, bufio.NewScanner(out)
}

const crashWriters = 4

// writeForever acknowledges each transaction of three keys on standard output.
func writeForever(path string) error {
	s, err := bolt.Open(path, &bolt.Options{KeepRevisions: 50, KeepFor: 1}) // compacting all the time
	if err != nil {
		return err
	}
	var out sync.Mutex
	errs := make(chan error)
	for i := range crashWriters {
		go func() {
			prefix := fmt.Sprintf("%d-%d", os.Getpid(), i)
			for n := 0; ; n++ {
				v := []byte(fmt.Sprintf("%s %d", prefix, n))
				x := store.Txn{Then: []store.Op{
					{Key: "a/" + prefix, Value: v}, {Key: "b/" + prefix, Value: v},
					{Key: fmt.Sprintf("all/%s/%d", prefix, n), Value: v},
				}}
				rev, err := s.Commit(context.Background(), x)
				if err != nil {
					errs <- err
					return
				}
				out.Lock()
				fmt.Printf("%d %s %d\n", rev, prefix, n)
				out.Unlock()
			}
		}()
	}
	return <-errs
}

// TestKill kills a writing process at random moments: nothing that it
// acknowledged is lost, no transaction is torn, no revision is used twice.
func TestKill(t *testing.T) {
	const rounds = 8
	path := filepath.Join(t.TempDir(), "store.db")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var last store.Revision
	acked := 0
	for range rounds {
		cmd, _, lines := startChild(t, childWrites, path)
		want := make(map[string]int) // the newest acknowledged by each writer
		for left := 1 + random.IntN(400); lines.Scan(); left-- {
			if left == 0 {
				require.NoError(t, cmd.Process.Kill())
			}
			var rev store.Revision
			var prefix string
			var n int
			_, err := fmt.Sscanf(lines.Text(), "%d %s %d", &rev, &prefix, &n)
			if err != nil && left < 0 {
				break // the kill tore the line
			}
			require.NoError(t, err, lines.Text())
			want[prefix] = n
			last = max(last, rev)
			acked++
		}
		require.Error(t, cmd.Wait(), "it was killed")
		last = checkAfterCrash(t, path, want, last)
	}
	require.Positive(t, acked)
	t.Logf("%d transactions acknowledged in %d rounds", acked, rounds)
}

func checkAfterCrash(t *testing.T, path string, want map[string]int, last store.Revision) store.Revision {
	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	page, err := s.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, page.Rev, last, "acknowledged revisions are gone")
	kvs := make(map[string]store.KV, len(page.KVs))
	for _, kv := range page.KVs {
		kvs[kv.Key] = kv
	}
	for prefix, n := range want {
		for i := range n + 1 {
			require.Contains(t, kvs, fmt.Sprintf("all/%s/%d", prefix, i), "acknowledged, and lost")
		}
	}
	for key, kv := range kvs {
		if prefix, ok := strings.CutPrefix(key, "a/"); ok {
			other := kvs["b/"+prefix]
			require.Equal(t, string(kv.Value), string(other.Value), "a torn transaction")
			require.Equal(t, kv.Mod, other.Mod)
			require.Equal(t, kv.Mod, kvs["all/"+strings.Replace(string(kv.Value), " ", "/", 1)].Mod)
		}
	}
	return page.Rev
}

// fillUp writes until the file may not grow, as on a full disk, and goes on when it may.
func fillUp(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	before := limit.Cur
	limit.Cur = fileLimit
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	s, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	n, err := fill(s)
	if !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("after %d transactions: %w", n, err)
	}
	if _, _, err := s.Get(context.Background(), "k/0", store.ReadOptions{}); err != nil {
		return fmt.Errorf("reading while full: %w", err)
	}
	limit.Cur = before
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if _, err := s.Commit(context.Background(), store.Txn{Then: []store.Op{{Key: "after", Value: make([]byte, 100_000)}}}); err != nil {
		return fmt.Errorf("when there is room again: %w", err)
	}
	fmt.Println(n)
	return s.Close()
}

func fill(s *bolt.Store) (int, error) {
	for n := 0; ; n++ {
		_, err := s.Commit(context.Background(), store.Txn{Then: []store.Op{
			{Key: fmt.Sprintf("k/%d", n), Value: make([]byte, 20_000)}, {Key: fmt.Sprintf("l/%d", n)},
		}})
		if err != nil || n == 1000 {
			return n, err
		}
	}
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd, _, lines := startChild(t, childFills, path)
	require.True(t, lines.Scan())
	var n int
	_, err := fmt.Sscan(lines.Text(), &n)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Positive(t, n)

	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	page, err := s.List(t.Context(), "", store.ReadOptions{})
	require.NoError(t, err)
	require.Len(t, page.KVs, 2*n+1, "acknowledged records, and no others")
	require.Equal(t, "after", page.KVs[0].Key)
	require.Equal(t, store.Revision(n+1), page.Rev)
}

// hold opens the store until its input ends.
func hold(path string) error {
	s, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

func TestInUseByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd, in, lines := startChild(t, childHolds, path)
	require.True(t, lines.Scan())
	_, err := bolt.Open(path, &bolt.Options{LockTimeout: 1})
	require.ErrorIs(t, err, store.ErrInUse)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "stop the process")
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	s, err := bolt.Open(path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
