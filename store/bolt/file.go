package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gostratos/stratos/store"
)

// format is the version of the layout below. It rises when older programs
// would misread the file.
const format = 1

const (
	fileMode    = 0o600
	lockTimeout = time.Second
	cure        = "restore a backup (stratos store restore, or bolt.Restore, makes a new file of it)"
)

// The buckets. Numbers are big endian, so that they sort.
const (
	bucketMeta   = "meta"   // the keys below
	bucketKV     = "kv"     // key -> record
	bucketLog    = "log"    // revision -> changes of that transaction
	bucketLeases = "leases" // lease -> ttl; lease+key -> nothing: the keys of a lease

	keyFormat     = "format"
	keyUUID       = "uuid"
	keyGeneration = "generation"
	keyRev        = "rev"       // the newest revision
	keyCompacted  = "compacted" // history up to here is gone
)

// meta is what a store knows about itself.
type meta struct {
	id             store.ID
	rev, compacted store.Revision
}

// database is an open file. Its handle is kept for when bbolt can no longer close it.
type database struct {
	*bbolt.DB
	file     *os.File
	pageSize int
}

// openFile opens, locks and checks the file, or makes it if there is none.
// What is not a sound store is left as it is.
func openFile(path string, timeout time.Duration) (*database, error) {
	if timeout <= 0 {
		timeout = lockTimeout
	}
	err := checkFile(path, timeout)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path)
	}
	if err != nil {
		return nil, err
	}
	db, err := openBolt(path, timeout, false)
	if err != nil {
		return nil, err
	}
	if err := prepare(db, path); err != nil {
		_ = db.Close() // the first error tells more
		return nil, err
	}
	return db, nil
}

// openBolt opens a file that exists, or that is empty for create. Bbolt
// panics on some damaged files, and then leaves them mapped and locked.
func openBolt(path string, timeout time.Duration, readOnly bool) (*database, error) {
	db := new(database)
	err := guard(func() (err error) {
		db.DB, err = bbolt.Open(path, fileMode, &bbolt.Options{
			Timeout: timeout, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
				db.file = f
				return f, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		db.pageSize = db.Info().PageSize
		return db, nil
	case errors.Is(err, errDamaged):
		_ = db.file.Close() // the first error tells more
		return nil, fmt.Errorf("store %s: %w: %s", path, err, cure)
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s is locked: stop the process that has it open, or choose another folder", store.ErrInUse, path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%s is not a store, or is damaged (%w): %s, or choose another folder", path, err, cure)
	}
	return nil, fmt.Errorf("open store %s: %w", path, full(err))
}

// checkFile says what is wrong with a file before anything is done with it.
func checkFile(path string, timeout time.Duration) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("open store: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("open store %s: it is not a file (%s): choose another path", path, info.Mode().Type())
	case info.Size() == 0:
		return fmt.Errorf("open store %s: the file is empty, which no store ever is: %s, or remove the file to begin a new store", path, cure)
	}
	db, err := openBolt(path, timeout, true)
	if err != nil {
		return err
	}
	err = guard(func() error { return verify(db.file, info.Size(), db.pageSize) })
	if err = errors.Join(err, db.Close()); errors.Is(err, errDamaged) {
		return fmt.Errorf("store %s: %w: %s", path, err, cure)
	}
	return err
}

// create makes an empty store, whole or not at all: an empty or half laid out
// file is never taken for a new store. If somebody else makes it meanwhile,
// that one stays.
func create(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return fmt.Errorf("make store %s: %w", path, full(err))
	}
	defer func() { _ = os.Remove(f.Name()) }() // the store has its own name by then
	err = f.Close()
	if err == nil {
		var db *database
		if db, err = openBolt(f.Name(), lockTimeout, false); err == nil {
			err = errors.Join(layOut(db), db.Close())
		}
	}
	if err == nil {
		if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
			return nil
		}
	}
	if err == nil {
		err = syncDir(path)
	}
	if err != nil {
		return fmt.Errorf("make store %s: %w", path, full(err))
	}
	return nil
}

// prepare checks the layout of a file, and takes it away from other users.
func prepare(db *database, path string) error {
	err := guard(func() error { return db.View(checkFormat) })
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w: %s", err, cure)
	}
	if err == nil {
		err = os.Chmod(path, fileMode)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	return nil
}

func checkFormat(tx *bbolt.Tx) error {
	for _, name := range []string{bucketMeta, bucketKV, bucketLog, bucketLeases} {
		if bucket(tx, name) == nil {
			return fmt.Errorf("not a store of this program: no bucket %s", name)
		}
	}
	switch v, err := number(tx, keyFormat); {
	case err != nil:
		return err
	case v > format:
		return fmt.Errorf("written by a newer program in format %d, this one knows up to %d: run the newer one, or restore an older backup", v, format)
	case v < 1:
		return fmt.Errorf("unknown format %d", v)
	}
	return nil
}

// layOut makes an empty store.
func layOut(db *database) error {
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{bucketMeta, bucketKV, bucketLog, bucketLeases} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		id := store.NewID()
		return errors.Join(
			bucket(tx, bucketMeta).Put([]byte(keyUUID), []byte(id.UUID)),
			putNumber(tx, keyGeneration, id.Generation),
			putNumber(tx, keyFormat, format),
			putNumber(tx, keyRev, 0),
			putNumber(tx, keyCompacted, 0),
		)
	})
}

func readMeta(tx *bbolt.Tx) (meta, error) {
	rev, err1 := number(tx, keyRev)
	compacted, err2 := number(tx, keyCompacted)
	generation, err3 := number(tx, keyGeneration)
	return meta{
		id:        store.ID{UUID: string(bucket(tx, bucketMeta).Get([]byte(keyUUID))), Generation: generation},
		rev:       store.Revision(rev),
		compacted: store.Revision(compacted),
	}, errors.Join(err1, err2, err3)
}

func number(tx *bbolt.Tx, key string) (int64, error) {
	v := bucket(tx, bucketMeta).Get([]byte(key))
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: %s in meta has %d bytes", errDamaged, key, len(v))
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

func putNumber(tx *bbolt.Tx, key string, n int64) error {
	return bucket(tx, bucketMeta).Put([]byte(key), bigEndian(n))
}

func bucket(tx *bbolt.Tx, name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) }

func bigEndian[T ~int64](n T) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// syncDir makes the name of a file durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
