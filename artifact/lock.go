package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPoll is how often a lock that somebody else has is tried again.
const lockPoll = 20 * time.Millisecond

// fileLock is a lock that holds between goroutines and between processes, and
// that dies with its holder.
type fileLock struct{ file *os.File }

// lockFile waits for the lock at path, or for ctx. The file is made if needed.
// how is LOCK_EX or LOCK_SH.
func lockFile(ctx context.Context, path string, how int) (*fileLock, error) {
	for {
		l, err := tryLock(path, how)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// tryLock returns nil if somebody else has the lock.
func tryLock(path string, how int) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if err == nil && sameFile(f, path) {
		return &fileLock{file: f}, nil
	}
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, f.Close() // held, or removed by who held it: try again
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
}

// sameFile reports whether path still is the file f.
func sameFile(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(have, now)
}

// unlock gives the lock up. Closing the file is what frees it.
func (l *fileLock) unlock() error { return l.file.Close() }
