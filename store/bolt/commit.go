package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gostratos/stratos/store"
)

// A group is what is written to the disk together.
const (
	maxGroup      = 256
	maxGroupBytes = 8 << 20
	compactAtOnce = 1000 // revisions, so that no writer waits long behind a compaction
)

// job is work for the committer. The work is done within a group; its error
// is a refusal and must leave the writer as it was.
type job struct {
	work  func(*writer) error
	size  int         // bytes, about
	taken atomic.Bool // by the committer, or by a caller that gave up
	rev   store.Revision
	err   error
	done  chan struct{} // closed when rev and err are final
}

// do gives work to the committer and waits until it is on the disk.
func (s *Store) do(ctx context.Context, size int, work func(*writer) error) (store.Revision, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	j := &job{work: work, size: size, done: make(chan struct{})}
	select {
	case s.queue <- j:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.stop:
		return 0, store.ErrClosed
	}
	select {
	case <-j.done:
		return j.rev, j.err
	case <-ctx.Done():
		return j.giveUp(ctx.Err(), &store.UnknownError{Err: ctx.Err()})
	case <-s.stopped: // the committer takes nothing any more, but may have finished this one
		return j.giveUp(store.ErrClosed, &store.UnknownError{Err: store.ErrClosed})
	}
}

// giveUp takes the job back. If the committer was faster, its result counts,
// or nobody knows yet.
func (j *job) giveUp(untouched, unknown error) (store.Revision, error) {
	if j.taken.CompareAndSwap(false, true) {
		return 0, untouched
	}
	select {
	case <-j.done:
		return j.rev, j.err
	default:
		return 0, unknown
	}
}

// commitLoop is the one goroutine that writes. It ends with Close.
func (s *Store) commitLoop() {
	defer close(s.stopped)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		select {
		case <-s.stop:
			return
		case j := <-s.queue:
			s.commitGroup(s.gather(j))
			s.compactSome()
		}
	}
}

// gather takes what else is waiting, as far as it fits.
func (s *Store) gather(first *job) []*job {
	group := make([]*job, 0, 16)
	for j, size := first, 0; ; {
		if j.taken.CompareAndSwap(false, true) {
			group = append(group, j)
			size += j.size
		}
		if len(group) == maxGroup || size >= maxGroupBytes {
			return group
		}
		select {
		case j = <-s.queue:
		default:
			return group
		}
	}
}

// commitGroup does the work of a group in one transaction of the file, tells
// the watchers, and then those who wait.
func (s *Store) commitGroup(group []*job) {
	w, err := s.write(group)
	if err == nil {
		s.hub.Publish(w.batches...)
	}
	for _, j := range group {
		if err != nil {
			j.rev, j.err = 0, err
		}
		close(j.done)
	}
}

// write returns after the group is on the disk. If it returns an error, all of
// the group failed; else each job has its own result.
func (s *Store) write(group []*job) (*writer, error) {
	if err := s.failed.Load(); err != nil {
		return nil, *err
	}
	tx, err := s.begin(true)
	if err != nil {
		return nil, s.broken(err)
	}
	var w *writer
	err = guard(func() (err error) { w, err = work(tx, group); return err })
	if err != nil || !w.dirty {
		if undone := s.locked(tx.Rollback); undone != nil || err != nil {
			return nil, s.notWritten(errors.Join(err, undone))
		}
		return w, nil
	}
	id := tx.ID()
	if err := guard(tx.Commit); err != nil {
		_ = s.locked(tx.Rollback) // bbolt forgets it after some errors, and would lock up; else it is closed already
		return nil, s.commitFailed(id, err)
	}
	return w, nil
}

// work does the work of a group, each job with its own result, up to the commit.
func work(tx *bbolt.Tx, group []*job) (*writer, error) {
	w, err := newWriter(tx)
	if err != nil {
		return nil, err
	}
	for _, j := range group {
		if j.err = j.work(w); j.err == nil {
			j.rev = w.meta.rev
		}
		if w.err != nil {
			return nil, w.err
		}
	}
	if !w.dirty {
		return w, nil
	}
	return w, w.finish()
}

// commitFailed tells apart what bbolt does not: whether the transaction id
// surely left no trace.
func (s *Store) commitFailed(id int, err error) error {
	newest := id
	look := s.look(func(tx *bbolt.Tx) error {
		newest = tx.ID()
		return nil
	})
	if look == nil && newest < id {
		return s.notWritten(err)
	}
	return &store.UnknownError{Err: s.broken(errors.Join(err, look))}
}

// notWritten returns the error for a group that surely left no trace. After a
// full disk the store goes on; nothing else can be trusted to go away.
func (s *Store) notWritten(err error) error {
	if err = full(err); errors.Is(err, store.ErrFull) {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	return s.broken(err)
}

// broken ends the use of the file: what was read or synced after a failed
// write could be something that is not on the disk.
func (s *Store) broken(err error) error {
	mend := "mend the disk, then restart"
	if errors.Is(err, errDamaged) {
		mend = cure
	}
	err = fmt.Errorf("store %s can no longer be written (%w): %s", s.path, err, mend)
	s.failed.CompareAndSwap(nil, &err)
	return err
}

// full marks the errors of a full disk (or quota, or limit of a file's size)
// as ErrFull. bbolt flattens some of them to text.
func full(err error) error {
	if err == nil {
		return nil
	}
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), no.Error()) {
			return fmt.Errorf("%w (%w)", store.ErrFull, err)
		}
	}
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return fmt.Errorf("%w (%w)", store.ErrFull, err)
	}
	return err
}

// compactSome forgets a little of the history that nobody needs to see any more.
func (s *Store) compactSome() {
	if s.failed.Load() != nil {
		return
	}
	var m meta
	err := s.look(func(tx *bbolt.Tx) (err error) {
		m, err = readMeta(tx)
		return err
	})
	if err != nil {
		return // whoever uses the store next is told
	}
	s.horizon = max(s.horizon, s.retention.Horizon(time.Now(), m.rev, m.compacted))
	if s.horizon <= m.compacted {
		return
	}
	upTo := min(s.horizon, m.compacted+compactAtOnce)
	j := &job{work: func(w *writer) error { return w.compact(upTo) }, done: make(chan struct{})}
	s.commitGroup([]*job{j})
	if j.err != nil {
		s.horizon = 0 // found again at the next commit
	}
}
