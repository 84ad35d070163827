package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// openFile opens and locks the file, and lays it out if it is new.
func openFile(path string, timeout time.Duration) (*bbolt.DB, error) {
	if timeout <= 0 {
		timeout = lockTimeout
	}
	db, err := bbolt.Open(path, fileMode, &bbolt.Options{Timeout: timeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s is locked: stop the process that has it open, or choose another folder", store.ErrInUse, path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%s is not a store, or is damaged (%w): restore a backup, or choose another folder", path, err)
	case err != nil:
		return nil, fmt.Errorf("open store %s: %w", path, full(err))
	}
	if err := prepare(db, path); err != nil {
		_ = db.Close() // the first error tells more
		return nil, err
	}
	return db, nil
}

// prepare checks the layout of a file, or makes it, and takes the file away from other users.
func prepare(db *bbolt.DB, path string) error {
	if err := os.Chmod(path, fileMode); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		if name, _ := tx.Cursor().First(); name == nil {
			fresh = true
			return nil
		}
		return checkFormat(tx)
	})
	if err == nil && fresh {
		err = layOut(db, path)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", path, full(err))
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

// layOut makes an empty store. The folder is synced too: without it, a power
// cut could take the whole new file.
func layOut(db *bbolt.DB, path string) error {
	err := db.Update(func(tx *bbolt.Tx) error {
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
	if err != nil {
		return err
	}
	return syncDir(path)
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
		return 0, fmt.Errorf("damaged: %s in meta has %d bytes", key, len(v))
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
