package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// guard runs f, which looks at pages of the file. Bbolt does not expect them
// to be damaged: it panics, or reads where nothing is mapped (of a file that
// was cut off meanwhile, for example). Either becomes an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// begin begins a transaction. The size of the file is looked at first, since
// bbolt would stay locked after a fault in the pages it begins with.
func (s *Store) begin(writable bool) (tx *bbolt.Tx, err error) {
	info, err := s.db.file.Stat()
	switch {
	case errors.Is(err, fs.ErrClosed):
		return nil, berrors.ErrDatabaseNotOpen
	case err != nil:
		return nil, err
	case info.Size() < firstPage*int64(s.db.pageSize):
		return nil, fmt.Errorf("%w: the file was cut off, to %d bytes", errDamaged, info.Size())
	}
	err = s.locked(func() (err error) { tx, err = s.db.Begin(writable); return err })
	return tx, err
}

// locked begins or undoes a transaction. If a damaged page stops that half
// way, bbolt stays locked: nobody may use it any more, and Close not wait for it.
func (s *Store) locked(f func() error) error {
	err := guard(f)
	if errors.Is(err, errDamaged) {
		s.stuck.Store(true)
		return s.broken(err)
	}
	return err
}
