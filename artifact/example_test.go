package artifact_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

// folder is a source of one's own: a folder with a folder for each version.
type folder string

var _ artifact.Source = folder("")

func (f folder) Resolve(_ context.Context, ref string) (string, error) {
	if _, err := os.Stat(filepath.Join(string(f), ref)); ref == "" || err != nil {
		return "", fmt.Errorf("version %q: %w", ref, artifact.ErrNoRef)
	}
	return ref, nil
}

func (f folder) Fetch(_ context.Context, revision, dir string) error {
	return os.CopyFS(dir, os.DirFS(filepath.Join(string(f), revision)))
}

func ExampleSource() {
	dir, err := os.MkdirTemp("", "versions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "v1"), 0o755); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(folder(dir).Resolve(context.Background(), "v1"))
	fmt.Println(folder(dir).Resolve(context.Background(), "v2"))
	// Output:
	// v1 <nil>
	//  version "v2": no such branch, tag or commit in the repository
}

func ExampleCheckURL() {
	fmt.Println(artifact.CheckURL("https://github.com/org/repo"))
	fmt.Println(artifact.CheckURL("file:///etc"))
	// Output:
	// <nil>
	// repository URL is not allowed: the scheme "file" is not allowed: use https, ssh, git or http
}

func ExampleCoordinator() {
	if err := coordinate(); err != nil {
		fmt.Println(err)
	}
	// Output: building acme/shop
	// v1 is the head
}

func coordinate() error {
	dir, err := os.MkdirTemp("", "coordinator")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "versions", "v1"), 0o755); err != nil {
		return err
	}
	s := mem.New()
	defer s.Close()
	c := &artifact.Coordinator{
		Store: s,
		Blobs: &artifact.DirBlobs{Path: filepath.Join(dir, "blobs")},
		Dir:   filepath.Join(dir, "work"),
		Open:  func(artifact.Key, artifact.Wish) artifact.Source { return folder(filepath.Join(dir, "versions")) },
		Build: func(_ context.Context, k artifact.Key, _ string, _ io.Writer) ([]byte, error) {
			fmt.Println("building", k)
			return []byte("{}"), nil
		},
	}
	shop := artifact.Key{Tenant: "acme", Alias: "shop"}
	c.Set(map[artifact.Key]artifact.Wish{shop: {Ref: "v1"}})

	ctx, cancel := context.WithCancel(context.Background())
	lead, err := store.Campaign(ctx, s, "artifact", "me", store.ProgressEvery)
	if err != nil {
		cancel()
		return err
	}
	ended := make(chan error)
	go func() { ended <- c.Run(ctx, lead) }()
	repo, err := c.Synchronise(ctx, shop)
	fmt.Println(repo.Head, "is the head")
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return err
}
