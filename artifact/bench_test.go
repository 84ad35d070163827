package artifact_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/artifact/archive"
	"github.com/gostratos/stratos/artifact/artifacttest"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

var shop = artifact.Key{Tenant: "acme", Alias: "shop"}

// bench is a coordinator on a store, and what a test asks of it.
type bench struct {
	*artifact.Coordinator
	t testing.TB
}

// newBench makes a coordinator whose builds succeed with the plan "{}".
func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	s := mem.New()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &bench{t: t, Coordinator: &artifact.Coordinator{
		Store: s,
		Blobs: &artifact.DirBlobs{Path: filepath.Join(dir, "blobs")},
		Dir:   filepath.Join(dir, "work"),
		Build: func(context.Context, artifact.Key, string, io.Writer) ([]byte, error) { return []byte("{}"), nil },
	}}
}

// start runs the coordinator as the leader. What it returns ends it.
func (b *bench) start(id string) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	lead, err := store.Campaign(ctx, b.Store, "artifact", id, time.Minute)
	require.NoError(b.t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, lead) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(b.t, <-ended)
		require.NoError(b.t, lead.Resign(context.Background()))
	})
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) follow(repo *artifacttest.Repo) {
	b.Set(map[artifact.Key]artifact.Wish{shop: {URL: artifact.Dir(repo.Dir), Ref: "main"}})
}

func (b *bench) sync() artifact.Repository {
	b.t.Helper()
	repo, err := b.Synchronise(b.t.Context(), shop)
	require.NoError(b.t, err)
	return repo
}

func (b *bench) release(revision string) artifact.Release {
	b.t.Helper()
	r, err := store.Read[artifact.Release](b.t.Context(), b.Store, artifact.ReleaseKey(shop, revision))
	require.NoError(b.t, err)
	return r.Value
}

func (b *bench) repository() store.Record[artifact.Repository] {
	b.t.Helper()
	r, err := store.Read[artifact.Repository](b.t.Context(), b.Store, artifact.RepositoryKey(shop))
	require.NoError(b.t, err)
	return r
}

func (b *bench) revisions() (all []string) {
	b.t.Helper()
	releases, _, err := store.ReadAll[artifact.Release](b.t.Context(), b.Store, artifact.ReleasePrefix+shop.String()+"/")
	require.NoError(b.t, err)
	for _, r := range releases {
		all = append(all, r.Value.Revision)
	}
	return all
}

// files unpacks a release.
func (b *bench) files(d artifact.Digest) map[string]string {
	b.t.Helper()
	blob, err := b.Blobs.Get(b.t.Context(), d)
	require.NoError(b.t, err)
	dir := b.t.TempDir()
	require.NoError(b.t, archive.Unpack(artifact.VerifyReader(blob, d), dir, archive.Limits{}))
	require.NoError(b.t, blob.Close())
	return artifacttest.Files(b.t, dir)
}

func (b *bench) blobs() []artifact.Digest {
	b.t.Helper()
	all, err := b.Blobs.List(b.t.Context())
	require.NoError(b.t, err)
	return all
}

func entries(t testing.TB, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	return all
}

func requireNoRecords(t testing.TB, s store.Store) {
	t.Helper()
	for _, prefix := range []string{artifact.ReleasePrefix, artifact.RepositoryPrefix} {
		page, err := s.List(t.Context(), prefix, store.ReadOptions{})
		require.NoError(t, err)
		require.Empty(t, page.KVs)
	}
}
