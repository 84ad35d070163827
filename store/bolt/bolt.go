// Package bolt is the default store: one file on one machine.
//
// The file is a bbolt database. One goroutine writes it, and commits together
// what is waiting: a lone writer pays the disk's latency, many share it.
// Readers see the newest committed state and never wait for writers. While a
// store is open, its file is locked: a second process is refused with
// [store.ErrInUse].
//
// An acknowledged transaction is on the disk. The file never shrinks, but what
// is deleted or compacted is used again.
package bolt

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/hub"
	"github.com/gostratos/stratos/store/internal/leases"
	"github.com/gostratos/stratos/store/internal/retention"
)

// Options are optional; a nil *Options is one of zero values.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the
	// file. Default: 1 s.
	LockTimeout time.Duration
	// KeepRevisions and KeepFor say how much history is kept at least. What is
	// beyond both is compacted while transactions are committed. Defaults:
	// 100 000 revisions, 10 minutes (since the store was opened).
	KeepRevisions int64
	KeepFor       time.Duration
}

// Store is an open file. Create it with [Open].
type Store struct {
	path   string
	db     *database
	id     store.ID
	hub    *hub.Hub
	leases *leases.Keeper

	queue   chan *job
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the committer has ended
	running sync.WaitGroup
	once    sync.Once
	failed  atomic.Pointer[error] // why the file is no longer trusted
	stuck   atomic.Bool           // bbolt stayed locked, for ever

	// Only the committer uses these.
	retention retention.Keeper
	horizon   store.Revision // history up to here is being compacted, bit by bit
}

var _ store.Store = (*Store)(nil)

// Open opens the store at path, or creates it with mode 0600; the folder must
// exist, on a file system with hard links. A file that another process has open
// is a [store.ErrInUse]. The structure of the whole file is checked: one that
// is damaged is an error, and left as it is. The store owns goroutines from now
// on, until Close.
func Open(path string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	db, err := openFile(path, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, db: db,
		queue: make(chan *job, maxGroup), stop: make(chan struct{}), stopped: make(chan struct{}),
		retention: retention.Keeper{Policy: retention.Policy{Revisions: o.KeepRevisions, For: o.KeepFor}},
	}
	s.leases = leases.New(s.endLease)
	if err := s.load(); err != nil {
		s.leases.Close()
		_ = db.Close() // nothing was written; the first error tells more
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	s.running.Go(s.commitLoop)
	return s, nil
}

// load reads what the store knows about itself, and gives each lease a full ttl again.
func (s *Store) load() error {
	return s.look(func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		s.id = m.id
		s.hub = hub.New(history{s}, m.rev)
		return eachLease(tx, s.leases.Adopt)
	})
}

// ID implements [store.Store].
func (s *Store) ID(ctx context.Context) (store.ID, error) {
	return s.id, s.usable(ctx)
}

// Close implements [store.Store]. It waits for the transactions that are being
// written; those that wait in the queue get [store.ErrClosed].
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		s.leases.Close()
		if !s.stuck.Load() { // else the committer may wait for bbolt's lock, for ever
			s.running.Wait()
		}
		s.hub.Close()
		if s.stuck.Load() {
			err = s.abandon()
		} else {
			err = s.db.Close()
		}
	})
	return err
}

// abandon gives up a file that bbolt keeps locked. What is mapped stays so until
// the process ends, and so does the file if the committer waits inside bbolt.
func (s *Store) abandon() error {
	select {
	case <-s.stopped:
		return s.db.file.Close()
	case <-time.After(time.Second):
		return nil
	}
}

// usable says why the store cannot be used, if so.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.stop:
		return store.ErrClosed
	default:
	}
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}
