package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/artifacttest"
	"github.com/gostratos/stratos/store"
)

const none = "0000000000000000000000000000000000000000"

// host has the bench keep the repository of shop, and starts it.
func (b *bench) host() {
	b.t.Helper()
	b.record()
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Hosted}})
	b.start("a")
	require.Equal(b.t, artifact.RepoEmpty, b.sync().Problem) // it runs
}

// record makes the record of an empty repository, as who subscribes does.
func (b *bench) record() {
	b.t.Helper()
	op, err := store.NewRecord(artifact.HostedKey(shop), artifact.NewHosted()).Put()
	require.NoError(b.t, err)
	_, err = b.Store.Commit(b.t.Context(), store.Txn{Then: []store.Op{op}})
	require.NoError(b.t, err)
}

func (b *bench) hosted() artifact.HostedRepository {
	b.t.Helper()
	rec, err := store.Read[artifact.HostedRepository](b.t.Context(), b.Store, artifact.HostedKey(shop))
	require.NoError(b.t, err)
	return rec.Value
}

// packs are what is in the folder of the hosted repository.
func (b *bench) packs() (names []string) {
	for _, e := range entries(b.t, filepath.Join(b.Dir, "mirrors", shop.Tenant, shop.Alias+".git", "objects", "pack")) {
		names = append(names, e.Name())
	}
	return names
}

// pktLine is a line of git's protocol.
func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// pushOf is the body of a push, as no git program would always send it.
func pushOf(pack []byte, commands ...string) []byte {
	var b bytes.Buffer
	for i, c := range commands {
		if i == 0 {
			c += "\x00 report-status side-band-64k"
		}
		b.WriteString(pktLine(c))
	}
	b.WriteString("0000")
	b.Write(pack)
	return b.Bytes()
}

// packedObjects is a pack of exactly these objects.
func packedObjects(t testing.TB, repo *artifacttest.Repo, hashes ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "pack-objects", "--stdout", "-q")
	cmd.Dir, cmd.Stdin = repo.Dir, strings.NewReader(strings.Join(hashes, "\n")+"\n")
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// all are the hashes of everything that a commit needs.
func all(repo *artifacttest.Repo, commit string) (hashes []string) {
	for line := range strings.Lines(repo.Git("rev-list", "--objects", commit)) {
		hashes = append(hashes, strings.Fields(line)[0])
	}
	return hashes
}

func (b *bench) push(body []byte) (answer string, err error) {
	var out bytes.Buffer
	err = b.Receive(b.t.Context(), shop, bytes.NewReader(body), &out)
	return out.String(), err
}

// TestHostilePushes: each is refused with the reason, and nothing is left.
func TestHostilePushes(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.Build = func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) {
		return nil, errors.New("it is built")
	}
	b.host()
	repo.Write("f", "content", 0o644)
	good := repo.Commit("one")
	blob := object(t, repo, "blob", []byte("x"))
	climbs := commitOf(t, repo, object(t, repo, "tree", treeEntry(t, "40000", "..", object(t, repo, "tree", treeEntry(t, "100644", "x", blob)))))
	bomb := commitOf(t, repo, object(t, repo, "tree", treeEntry(t, "100644", "zeros", object(t, repo, "blob", make([]byte, 300<<20)))))
	whole := packedObjects(t, repo, all(repo, good)...)
	create := func(hash, name string) string { return none + " " + hash + " " + name }
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"a name that climbs":        {pushOf(packedObjects(t, repo, all(repo, climbs)...), create(climbs, "refs/heads/main")), "hasDotdot"},
		"a bomb of one file":        {pushOf(packedObjects(t, repo, all(repo, bomb)...), create(bomb, "refs/heads/main")), "more than 256 MiB"},
		"a history with holes":      {pushOf(packedObjects(t, repo, good), create(good, "refs/heads/main")), "did not receive"},
		"a commit that is not sent": {pushOf(packedObjects(t, repo, blob), create(good, "refs/heads/main")), "never pushed"},
		"a tag of what is not sent": {pushOf(packedObjects(t, repo, blob), create(good, "refs/tags/v1")), "not whole"},
		"no commit":                 {pushOf(packedObjects(t, repo, blob), create(blob, "refs/heads/main")), "not a commit"},
		"a name that is a path":     {pushOf(whole, create(good, "refs/heads/../../config")), "not a branch or tag"},
		"a name of ours":            {pushOf(whole, create(good, "refs/got/x")), "not a branch or tag"},
		"a long name":               {pushOf(whole, create(good, "refs/heads/"+strings.Repeat("x", 300))), "not a branch or tag"},
		"deletes what is not there": {pushOf(nil, good+" "+none+" refs/heads/main"), "there is none"},
		"half a pack":               {pushOf(whole[:len(whole)/2], create(good, "refs/heads/main")), "index-pack"},
		"a damaged pack":            {pushOf(append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1), create(good, "refs/heads/main")), "index-pack"},
		"no pack":                   {pushOf([]byte("hello"), create(good, "refs/heads/main")), "index-pack"},
		"a build that fails":        {pushOf(whole, create(good, "refs/heads/main")), "it is built"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := b.push(c.body)
			require.NoError(t, err)
			require.Contains(t, answer, "refused: ")
			require.Contains(t, answer, c.want)
			require.Contains(t, answer, "ng refs/")
			require.NotContains(t, answer, b.Dir)
			require.Equal(t, artifact.NewHosted(), b.hosted())
			require.Empty(t, b.packs())
			require.Empty(t, b.blobs())
		})
	}
	for name, body := range map[string][]byte{
		"nothing": nil, "a page": []byte("GET / HTTP/1.1"), "half a line": []byte("00a0" + none),
		"no capabilities": []byte(pktLine(create(good, "refs/heads/main")) + "0000"), "endless commands": endless(create(good, "refs/heads/main")),
	} {
		answer, err := b.push(body)
		require.ErrorIs(t, err, artifact.ErrPush, name)
		require.Empty(t, answer, name)
	}
	answer, err := b.push([]byte("0000")) // git asks whether it may
	require.NoError(t, err)
	require.Empty(t, answer)
}

func endless(command string) []byte {
	line := pktLine(command)
	return []byte(pktLine(command+"\x00 report-status") + strings.Repeat(line, 2<<20/len(line)))
}

// TestPushIsAcknowledgedLast: what a pusher is told is in the store and in the
// blobs; a store that does not take it is a push that did not happen.
func TestPushIsAcknowledgedLast(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	admit := errors.New("it does not come up")
	b.Admit = func(_ context.Context, _ artifact.Key, revision string, say io.Writer) error {
		fmt.Fprintln(say, "trying", revision)
		require.Empty(t, b.hosted().Refs, "recorded before it is served")
		return admit
	}
	b.host()
	repo.Write("f", "content", 0o644)
	one := repo.Commit("one")
	body := pushOf(packedObjects(t, repo, all(repo, one)...), none+" "+one+" refs/heads/main")
	answer, err := b.push(body)
	require.NoError(t, err)
	require.Contains(t, answer, "trying "+one)
	require.Contains(t, answer, "ng refs/heads/main it does not come up")
	require.Empty(t, b.hosted().Refs)
	require.Empty(t, b.packs())
	require.Eventually(t, func() bool { return b.repository().Value.Problem == artifact.RepoEmpty }, 30*time.Second, time.Millisecond)
	require.Empty(t, b.repository().Value.Head, "a first push that was refused leaves no head")

	admit = nil
	answer, err = b.push(body)
	require.NoError(t, err)
	require.Contains(t, answer, "ok refs/heads/main")
	got := b.hosted()
	require.Equal(t, map[string]string{"refs/heads/main": one}, got.Refs)
	require.Len(t, got.Packs, 1)
	pack, err := b.Blobs.Get(t.Context(), got.Packs[0].Blob)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, pack)
	require.NoError(t, errors.Join(err, pack.Close()))
	require.Equal(t, n, got.Packs[0].Size)
	require.Equal(t, one, b.sync().Head)
}

// TestPushGoesOnFromAnother: what another pusher has made of a branch is lost
// neither to one who knows it, nor to one who does not.
func TestPushGoesOnFromAnother(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.host()
	repo.Write("f", "1", 0o644)
	one := repo.Commit("one")
	two := repo.Commit("two")
	three := repo.Commit("three")
	repo.Git("checkout", "-q", "--orphan", "other")
	other := repo.Commit("other")
	for _, c := range []struct{ was, now, want string }{
		{none, one, "ok refs/heads/main"},
		{none, two, "ok refs/heads/main"}, // who did not know of one, but has it
		{one, three, "ok refs/heads/main"},
		{one, other, "fetch first"},
		{three, other, "ok refs/heads/main"}, // it is meant
	} {
		answer, err := b.push(pushOf(packedObjects(t, repo, all(repo, c.now)...), c.was+" "+c.now+" refs/heads/main"))
		require.NoError(t, err)
		require.Contains(t, answer, c.want)
	}
	require.Equal(t, other, b.hosted().Refs["refs/heads/main"])
}

// TestHostedQuota: what has no room is refused, and nothing of it stays.
func TestHostedQuota(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	t.Chdir(t.TempDir())
	b.Dir = "work" // as the data folder is by default
	repo.Write("f", "1", 0o644)
	one := repo.Commit("one")
	two := repo.Commit("two")
	pack := packedObjects(t, repo, all(repo, one)...)
	b.HostedQuota = int64(len(pack)) + 1
	b.host()
	answer, err := b.push(pushOf(pack, none+" "+one+" refs/heads/main"))
	require.NoError(t, err)
	require.Contains(t, answer, "ok refs/heads/main")
	answer, err = b.push(pushOf(packedObjects(t, repo, two), one+" "+two+" refs/heads/main"))
	require.NoError(t, err)
	require.Contains(t, answer, "would take more than")
	require.Equal(t, map[string]string{"refs/heads/main": one}, b.hosted().Refs)
	require.Len(t, b.hosted().Packs, 1)
	var refs bytes.Buffer
	require.NoError(t, b.Advertise(t.Context(), shop, artifact.UploadPack, "", &refs))
	require.Contains(t, refs.String(), one+" refs/heads/main")
}

// TestPushNeedsALeader: where the coordinator does not run nothing is taken.
func TestPushNeedsALeader(t *testing.T) {
	b := newBench(t)
	b.record()
	_, err := b.push(pushOf(nil, none+" "+none+" refs/heads/main"))
	require.ErrorIs(t, err, artifact.ErrNotLeading)
	err = b.Advertise(t.Context(), artifact.Key{Tenant: "acme", Alias: "other"}, artifact.UploadPack, "", io.Discard)
	require.ErrorIs(t, err, artifact.ErrNoRepository)
}

// TestPushEndsWithTheLeadership: who does not lead any more decides nothing, and
// says so; what was left by one that was killed is nobody's.
func TestPushEndsWithTheLeadership(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	tried := make(chan struct{})
	b.Admit = func(ctx context.Context, _ artifact.Key, _ string, _ io.Writer) error {
		close(tried)
		<-ctx.Done()
		return ctx.Err()
	}
	b.record()
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Hosted}})
	stop := b.start("a")
	require.Equal(t, artifact.RepoEmpty, b.sync().Problem)
	repo.Write("f", "1", 0o644)
	one := repo.Commit("one")
	body := pushOf(packedObjects(t, repo, all(repo, one)...), none+" "+one+" refs/heads/main")
	done := make(chan string, 1)
	go func() {
		answer, err := b.push(body)
		done <- fmt.Sprint(answer, err)
	}()
	<-tried
	stop()
	require.Contains(t, <-done, "nothing has changed")
	require.Empty(t, b.hosted().Refs)

	stray := filepath.Join(b.Dir, "mirrors", shop.Tenant, shop.Alias+".git", "objects", "pack", "pack-"+one+".pack")
	require.NoError(t, os.WriteFile(stray, []byte("of a push that was killed"), 0o600))
	b.Admit = nil
	b.start("b")
	b.sync()
	answer, err := b.push(body)
	require.NoError(t, err)
	require.Contains(t, answer, "ok refs/heads/main")
	require.NoFileExists(t, stray)
	require.Len(t, b.hosted().Packs, 1)
}

// TestDamagedHostedCache: it is made again from the blobs.
func TestDamagedHostedCache(t *testing.T) {
	b, repo := newBench(t), artifacttest.NewRepo(t)
	b.host()
	repo.Write("f", "1", 0o644)
	one := repo.Commit("one")
	_, err := b.push(pushOf(packedObjects(t, repo, all(repo, one)...), none+" "+one+" refs/heads/side"))
	require.NoError(t, err)
	mirror := filepath.Join(b.Dir, "mirrors", shop.Tenant, shop.Alias+".git")
	lock, err := os.OpenFile(mirror+".lock", os.O_RDWR, 0) // the look that follows a push would mend it between two files
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	for _, name := range b.packs() {
		path := filepath.Join(mirror, "objects", "pack", name)
		require.NoError(t, os.Chmod(path, 0o600))
		require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
	}
	require.NoError(t, lock.Close())
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Hosted, Ref: "side"}})
	require.Equal(t, one, b.sync().Head)
	require.Equal(t, artifact.Built, b.release(one).State)
}

func FuzzReceive(f *testing.F) {
	b, repo := newBench(f), artifacttest.NewRepo(f)
	b.host()
	repo.Write("f", "content", 0o644)
	one := repo.Commit("one")
	pack := packedObjects(f, repo, all(repo, one)...)
	f.Add(pushOf(pack, none+" "+one+" refs/heads/main"))
	f.Add(pushOf(nil, one+" "+none+" refs/heads/main"))
	f.Add([]byte("0000"))
	f.Add([]byte(pktLine("shallow "+one) + "0000"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var out bytes.Buffer
		if err := b.Receive(t.Context(), shop, bytes.NewReader(body), &out); err != nil {
			require.Empty(t, out.String(), "an answer and an error")
		}
		rec, err := store.Read[artifact.HostedRepository](t.Context(), b.Store, artifact.HostedKey(shop))
		require.NoError(t, err)
		for name, hash := range rec.Value.Refs {
			require.Equal(t, one, hash, name)
		}
	})
}
