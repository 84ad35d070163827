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
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/internal/reliability/crash"
	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// What the test binary does when it is started as a child process.
const (
	childEnv = "STRATOS_BOLT_TEST_CHILD"
	fileEnv  = "STRATOS_BOLT_TEST_FILE"
	runEnv   = "STRATOS_BOLT_TEST_RUN"

	childWrites = "writes" // until it is killed
	childLies   = "lies"   // writes without syncing
	childFills  = "fills"  // until the file may not grow
	childHolds  = "holds"  // the file, until its input ends

	fileLimit    = 1 << 20
	crashWriters = 8
)

func TestMain(m *testing.M) {
	child, ok := map[string]func(string) error{
		childWrites: func(path string) error { return writeForever(path, func(*bolt.Store) {}) },
		childLies:   func(path string) error { return writeForever(path, bolt.WithoutSync) },
		childFills:  fillUp, childHolds: hold,
	}[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(os.Getenv(fileEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childCommand re-executes the test binary as a child.
func childCommand(ctx context.Context, t *testing.T, what, path, run string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+what, fileEnv+"="+path, runEnv+"="+run)
	return cmd
}

// startChild re-executes the test binary as a child. Its standard output comes back line by line.
func startChild(t *testing.T, what, path string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	cmd := childCommand(t.Context(), t, what, path, "")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, in, bufio.NewScanner(out)
}

// writeForever opens a store that compacts all the time, and acknowledges on standard output.
func writeForever(path string, alter func(*bolt.Store)) error {
	s, err := bolt.Open(path, &bolt.Options{KeepRevisions: 50, KeepFor: 1})
	if err != nil {
		return err
	}
	alter(s)
	return ledger.Write(context.Background(), s, os.Stdout, os.Getenv(runEnv), crashWriters)
}

// testSeed is what a random test begins with: printed, and the one of a failure can be given.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("STRATOS_TEST_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "STRATOS_TEST_SEED")
	}
	t.Logf("STRATOS_TEST_SEED=%d", seed)
	return seed
}

// TestKill kills a writing process at random moments: nothing that it
// acknowledged is lost, no transaction is torn, no revision is used twice.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	r, err := crash.Run(t.Context(), crash.Options{
		Writer: func(ctx context.Context, run string) *exec.Cmd { return childCommand(ctx, t, childWrites, path, run) },
		Open:   func() (store.Store, error) { return bolt.Open(path, nil) },
		Rounds: 8, Seed: testSeed(t),
	})
	require.NoError(t, err)
	require.Positive(t, r.Acknowledged)
	require.Zero(t, r.Lost)
	require.Zero(t, r.Torn)
	t.Logf("%+v", r)
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
