package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// Backup copies the store, as it is at one revision, to a new file, which is
// complete and on the disk when Backup returns. Transactions go on meanwhile,
// until one needs the file to grow: give it a path on a fast disk.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return writeFile(path, func(f *os.File) error {
		err := s.look(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(stoppable{ctx, f})
			return err
		})
		if err != nil {
			return err
		}
		return checkFile(f.Name(), lockTimeout) // a damaged one is worse than none
	})
}

// Restore makes a new store at path of a backup. Its generation is higher, so
// that readers who saw revisions that the backup has not forget them. The
// store must not exist yet: nothing is overwritten.
func Restore(ctx context.Context, backup, path string) error {
	if err := checkFile(backup, lockTimeout); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	from, err := os.Open(backup)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = from.Close() }() // only read
	return writeFile(path, func(f *os.File) error {
		if _, err := io.Copy(stoppable{ctx, f}, from); err != nil {
			return err
		}
		db, err := openFile(f.Name(), lockTimeout)
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			n, err := number(tx, keyGeneration)
			if err != nil {
				return err
			}
			return putNumber(tx, keyGeneration, n+1)
		})
		return errors.Join(err, db.Close())
	})
}

// writeFile makes the file at path whole or not at all; one that exists stays.
func writeFile(path string, fill func(*os.File) error) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(part, path) // unlike a rename, it never replaces
	}
	if err = errors.Join(err, os.Remove(part)); err != nil {
		return fmt.Errorf("write %s: %w", path, full(err))
	}
	return syncDir(path)
}

// stoppable is a writer that ends with its context.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

func (s stoppable) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}
