package stratos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
)

// keepPart reduces a release that is being made to the part of its repository
// that is for a subscription: what is for others is none of its business.
func keepPart(dir, alias string, t cartridge.Type) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", artifact.ErrTransient, err)
	}
	part, err := cartridge.Part(root.FS(), alias, t)
	if err = errors.Join(err, root.Close()); err != nil || part == "." {
		return err
	}
	if err := reduce(dir, filepath.FromSlash(part)); err != nil {
		return fmt.Errorf("%w: folder %s of the repository: %w", artifact.ErrTransient, part, err)
	}
	return nil
}

// reduce makes what is in dir/part all that is in dir.
func reduce(dir, part string) error {
	aside, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return err
	}
	kept := filepath.Join(aside, "kept")
	err = os.Rename(filepath.Join(dir, part), kept)
	if err == nil {
		err = each(dir, func(name string) error { return os.RemoveAll(filepath.Join(dir, name)) })
	}
	if err == nil {
		err = each(kept, func(name string) error { return os.Rename(filepath.Join(kept, name), filepath.Join(dir, name)) })
	}
	return errors.Join(err, os.RemoveAll(aside))
}

func each(dir string, do func(name string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, do(e.Name()))
	}
	return err
}
