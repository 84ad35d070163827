package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/tenant"
)

//go:embed samples
var sampleFiles embed.FS

// samples are the two applications, and what they are subscribed to.
var samples = []tenant.Subscription{
	{Alias: "hello", Cartridge: "php", Min: 1, Max: 2},
	{Alias: "counter", Cartridge: "proc", Min: 1, Max: 4},
}

// subscribeSamples makes the samples' repositories where they are missing, and
// subscribes them if they are not.
func subscribeSamples(ctx context.Context, p *stratos.Platform, dir string, out io.Writer) error {
	for _, s := range samples {
		repo := filepath.Join(dir, "repositories", s.Alias)
		if err := makeRepository(repo, s.Alias); err != nil {
			return fmt.Errorf("repository of %s: %w", s.Alias, err)
		}
		url, err := filepath.Abs(repo)
		if err != nil {
			return err
		}
		s.Repository.URL = artifact.Dir(url)
		err = p.Subscribe(ctx, s)
		switch {
		case errors.Is(err, tenant.ErrAliasTaken):
		case err != nil:
			return err
		default:
			fmt.Fprintf(out, "subscribed %s: cartridge %s, code from %s\n", s.Alias, s.Cartridge, repo)
		}
	}
	return nil
}

// makeRepository makes a Git repository of a sample's files, unless it is
// there. It is made aside and renamed, so that half a one is never found.
func makeRepository(dir, alias string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	files, err := fs.Sub(sampleFiles, "samples/"+alias)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.CopyFS(tmp, files); err != nil {
		return err
	}
	repo, err := git.PlainInit(tmp, false)
	if err != nil {
		return err
	}
	if err := setAuthor(repo); err != nil {
		return err
	}
	tree, err := repo.Worktree()
	if err != nil {
		return err
	}
	if err := tree.AddGlob("."); err != nil {
		return err
	}
	if _, err := tree.Commit("A first page", &git.CommitOptions{}); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// setAuthor names an author for the repository's commits, so that people can
// commit who never told git their name.
func setAuthor(repo *git.Repository) error {
	cfg, err := repo.Config()
	if err != nil {
		return err
	}
	cfg.User.Name, cfg.User.Email = "apaas", "apaas@localhost"
	return repo.SetConfig(cfg)
}
