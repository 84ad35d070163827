package artifact

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gostratos/stratos/artifact/archive"
)

// local is a repository in a folder. Nothing is copied: it is its own mirror.
type local struct{ repo *git.Repository }

// openLocal opens the folder that Dir made a URL of: a work tree or a bare repository.
func openLocal(path string) (*local, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%w: the folder %q is not absolute: use artifact.Dir", ErrURL, path)
	}
	repo, err := git.PlainOpenWithOptions(path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w: make one with git init", ErrNoRepository, path, err)
	}
	return &local{repo: repo}, nil
}

// resolve returns the commit that ref names.
func (l *local) resolve(ref string) (plumbing.Hash, error) {
	if isHash(ref) {
		h := plumbing.NewHash(ref)
		if _, err := l.repo.CommitObject(h); err != nil {
			return h, l.explain(h, err)
		}
		return h, nil
	}
	r, err := l.refs()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	h, err := r.find(ref)
	if err != nil {
		return h, err
	}
	return l.peel(h)
}

// refs reads the names of branches and tags.
func (l *local) refs() (refs, error) {
	r := refs{names: map[string]plumbing.Hash{}}
	all, err := l.repo.References()
	if err != nil {
		return r, &damagedError{err}
	}
	err = all.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference && strings.HasPrefix(ref.Name().String(), "refs/") {
			r.names[ref.Name().String()] = ref.Hash()
		}
		return nil
	})
	if err != nil {
		return r, &damagedError{err}
	}
	head, err := l.repo.Head()
	switch {
	case err == nil:
		r.head = head.Hash()
	case !errors.Is(err, plumbing.ErrReferenceNotFound): // no commit yet
		return r, &damagedError{err}
	}
	return r, nil
}

// peel returns the commit that an annotated tag stands for.
func (l *local) peel(h plumbing.Hash) (plumbing.Hash, error) {
	const deep = 8 // tags of tags of tags
	for range deep {
		tag, err := l.repo.TagObject(h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return h, nil
		}
		if err != nil {
			return h, &damagedError{err}
		}
		h = tag.Target
	}
	return h, fmt.Errorf("%w: tag %s stands for a tag, and so on: tag a commit", ErrNoRef, h)
}

func (l *local) export(ctx context.Context, commit plumbing.Hash, dir string, limits archive.Limits) error {
	if _, err := l.repo.CommitObject(commit); err != nil {
		return l.explain(commit, err)
	}
	return exportCommit(ctx, l.repo.Storer, commit, dir, limits)
}

// explain says why there is no such commit.
func (l *local) explain(h plumbing.Hash, err error) error {
	switch {
	case !errors.Is(err, plumbing.ErrObjectNotFound):
		return &damagedError{err}
	case l.repo.Storer.HasEncodedObject(h) == nil:
		return fmt.Errorf("%w: %s is not a commit", ErrNoRef, h)
	}
	return noCommit(h)
}
