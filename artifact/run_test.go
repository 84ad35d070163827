package artifact_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
	"github.com/gostratos/stratos/store"
)

func TestDroppedKeysLeaveNothing(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.Open = func(_ artifact.Key, w artifact.Wish) artifact.Source {
		return &artifact.Git{URL: w.URL, Mirror: filepath.Join(b.Dir, "mirrors", shop.Tenant, shop.Alias+".git")}
	}
	repo.Write("f", "1", 0o644)
	repo.Commit("one")
	url := serve(t, repo, backend(t, repo))
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: url}})
	stop := b.start("a")
	b.sync()
	mirrors := filepath.Join(b.Dir, "mirrors", shop.Tenant)
	require.Len(t, entries(t, mirrors), 2)
	require.Len(t, b.blobs(), 2)

	b.Set(nil)
	require.Eventually(t, func() bool {
		return len(b.blobs()) == 0 && len(entries(t, mirrors)) == 0
	}, 10*time.Second, 5*time.Millisecond)
	requireNoRecords(t, b.Store)

	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: url}})
	b.sync()
	stop()
	b.Set(nil) // while nobody leads
	b.start("b")
	require.Eventually(t, func() bool {
		return len(b.blobs()) == 0 && len(entries(t, mirrors)) == 0
	}, 10*time.Second, 5*time.Millisecond)
	requireNoRecords(t, b.Store)
	_, err := b.Synchronise(t.Context(), shop)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestRetention(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	var running atomic.Value
	running.Store("")
	b.Keep = 2
	b.InUse = func(k artifact.Key) []string {
		require.Equal(t, shop, k)
		return []string{running.Load().(string)}
	}
	b.start("a")
	var all []string
	for i := range 5 {
		repo.Write("f", fmt.Sprint(i), 0o644)
		all = append(all, repo.Commit(fmt.Sprint(i)))
		if i == 1 {
			running.Store(all[1])
		}
		b.follow(repo)
		require.Equal(t, all[i], b.sync().Head)
	}
	require.ElementsMatch(t, []string{all[1], all[3], all[4]}, b.revisions())
	require.Eventually(t, func() bool { return len(b.blobs()) == 4 }, 10*time.Second, 5*time.Millisecond, "three archives and one plan")
	require.Equal(t, map[string]string{"f": "-rw-r--r-- 1"}, b.files(b.release(all[1]).Archive))

	running.Store("")
	repo.Git("reset", "--quiet", "--hard", all[1])
	b.sync()
	require.Contains(t, b.revisions(), all[1], "the head is kept however old it is")
}

// TestQuota: large releases go before there are many, but those in use.
func TestQuota(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	var all []string
	b.Quota = 250_000 // two and a bit
	b.InUse = func(artifact.Key) []string { return all[:min(1, len(all))] }
	b.follow(repo)
	b.start("a")
	for i := range 4 {
		repo.Write("f", noise(uint64(i), 100_000), 0o644)
		head := repo.Commit(fmt.Sprint(i))
		require.Equal(t, head, b.sync().Head)
		all = append(all, head)
	}
	require.Eventually(t, func() bool { return len(b.revisions()) == 2 && len(b.blobs()) == 3 }, 30*time.Second, time.Millisecond, "two archives, one plan")
	require.ElementsMatch(t, []string{all[0], all[3]}, b.revisions(), "the one in use, and the newest")

	b.Quota = 1 // nothing fits: what is needed stays
	repo.Write("f", noise(9, 100_000), 0o644)
	head := repo.Commit("last")
	require.Equal(t, head, b.sync().Head)
	require.ElementsMatch(t, []string{all[0], head}, b.revisions())
}

func TestKilledRunLeavesNothingHalfMade(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	building := make(chan string)
	b.Build = func(ctx context.Context, _ artifact.Key, dir string, _ io.Writer) ([]byte, error) {
		select {
		case building <- dir:
			<-ctx.Done()
			return nil, ctx.Err()
		default:
			return []byte("{}"), nil
		}
	}
	head := repo.Commit("one")
	b.follow(repo)
	stop := b.start("a")
	<-building
	stop()
	requireNoRecords(t, b.Store)

	// What a process that was killed has left.
	junk := filepath.Join(b.Dir, "tmp", "release-1", "read-only")
	require.NoError(t, os.MkdirAll(junk, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(junk, "f"), nil, 0o400))
	require.NoError(t, os.Chmod(junk, 0o500))
	_, err := b.Blobs.Put(t.Context(), strings.NewReader("stored, and never recorded"))
	require.NoError(t, err)

	b.start("b")
	require.Equal(t, head, b.sync().Head)
	require.Equal(t, artifact.Built, b.release(head).State)
	require.NoDirExists(t, junk)
	require.Eventually(t, func() bool { return len(b.blobs()) == 2 }, 10*time.Second, 5*time.Millisecond)
}

func TestFormerLeaderRecordsNothing(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	building, resume := make(chan struct{}), make(chan struct{})
	b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
		close(building)
		<-resume
		return []byte("{}"), nil
	}
	repo.Commit("one")
	b.follow(repo)
	lead, err := store.Campaign(t.Context(), b.Store, "artifact", "a", time.Minute)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context(), lead) }()
	<-building
	_, err = store.Campaign(t.Context(), b.Store, "artifact", "a", time.Minute) // takes the key over
	require.NoError(t, err)
	close(resume)
	var fenced *store.FencedError
	require.ErrorAs(t, <-ended, &fenced)
	requireNoRecords(t, b.Store)
}

func TestNewWishInterruptsTheOldOne(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	building := make(chan struct{})
	b.Build = func(ctx context.Context, _ artifact.Key, dir string, _ io.Writer) ([]byte, error) {
		if _, err := os.Stat(filepath.Join(dir, "slow")); err == nil {
			close(building)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return []byte("{}"), nil
	}
	repo.Write("slow", "", 0o644)
	slow := repo.Commit("slow")
	repo.Git("checkout", "--quiet", "-b", "other")
	repo.Git("rm", "--quiet", "slow")
	other := repo.Commit("other")
	b.follow(repo)
	b.start("a")
	<-building
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Dir(repo.Dir), Ref: "other"}})
	require.Equal(t, other, b.sync().Head)
	require.NotContains(t, b.revisions(), slow)
}

func TestBuildsAreBounded(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	repo.Commit("one")
	b.Builds = 2
	var now, most atomic.Int32
	b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
		defer now.Add(-1)
		for n := now.Add(1); ; {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				return []byte("{}"), nil
			}
		}
	}
	wishes := map[artifact.Key]artifact.Wish{}
	for i := range 12 {
		wishes[artifact.Key{Tenant: "acme", Alias: fmt.Sprint("app", i)}] = artifact.Wish{URL: artifact.Dir(repo.Dir)}
	}
	b.Set(wishes)
	b.start("a")
	for k := range wishes {
		got, err := b.Synchronise(t.Context(), k)
		require.NoError(t, err)
		require.Empty(t, got.Error)
	}
	require.LessOrEqual(t, most.Load(), int32(2))
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	b := newBench(t)
	lead, err := store.Campaign(t.Context(), b.Store, "artifact", "a", time.Minute)
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		spoil func(*artifact.Coordinator)
	}{
		{"Store", func(c *artifact.Coordinator) { c.Store = nil }},
		{"Blobs", func(c *artifact.Coordinator) { c.Blobs = nil }},
		{"Dir", func(c *artifact.Coordinator) { c.Dir = "" }},
		{"Build", func(c *artifact.Coordinator) { c.Build = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			co := &artifact.Coordinator{Store: b.Store, Blobs: b.Blobs, Dir: b.Dir, Build: b.Build}
			c.spoil(co)
			require.ErrorContains(t, co.Run(t.Context(), lead), "set "+c.name)
		})
	}
}

func TestRunEndsWithTheLeadership(t *testing.T) {
	b := newBench(t)
	b.Set(nil)
	lead, err := store.Campaign(t.Context(), b.Store, "artifact", "a", time.Minute)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context(), lead) }()
	require.NoError(t, lead.Resign(t.Context()))
	require.NoError(t, <-ended)
}

func TestOneRunAtATime(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	repo.Commit("one")
	b.follow(repo)
	stop := b.start("a")
	b.sync()
	lead, err := store.Campaign(t.Context(), b.Store, "other", "a", time.Minute)
	require.NoError(t, err)
	require.ErrorContains(t, b.Run(t.Context(), lead), "running already")
	b.sync()
	stop()
	b.start("b")
	b.sync()
}
