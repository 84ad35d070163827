package store

import (
	"errors"
	"fmt"
)

// Errors of a store that some caller handles apart. None of them leaves a
// transaction half applied; only [UnknownError] leaves it in doubt.
var (
	ErrNotFound  = errors.New("no such record")
	ErrClosed    = errors.New("store is closed")
	ErrTooLarge  = errors.New("over the store's limits")
	ErrFull      = errors.New("no space left for the store: free some disk space, then go on")
	ErrInvalid   = errors.New("invalid request to the store")
	ErrLeaseGone = errors.New("the lease has ended")
	// ErrInUse: another process has this store open.
	ErrInUse = errors.New("store is in use by another process")
)

// ConflictError says that a condition did not hold: surely nothing was applied.
type ConflictError struct {
	Failed Cond     // the first condition that did not hold
	Now    Revision // what it was compared with: the key's Mod or Create, 0 if absent
	Rev    Revision // the store's revision at that time
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict on %s: expected revision %d, found %d", e.Failed.Key, e.Failed.Rev, e.Now)
}

// FencedError says that a leader's guard did not hold: somebody else leads.
// Surely nothing was applied. Whoever gets it stops leading.
type FencedError struct{ Key string }

func (e *FencedError) Error() string { return "no longer the leader: " + e.Key }

// CompactedError says that the history asked for is gone. Oldest is the first
// revision that can still be watched after.
type CompactedError struct{ Oldest, Current Revision }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("history compacted: oldest start is %d, current %d", e.Oldest, e.Current)
}

// SlowError says that a watcher fell too far behind. Watch again after Last.
type SlowError struct{ Last Revision }

func (e *SlowError) Error() string {
	return fmt.Sprintf("watcher too slow: last revision handed out is %d", e.Last)
}

// UnknownError says that a transaction may or may not have been applied.
type UnknownError struct{ Err error }

func (e *UnknownError) Error() string { return "outcome unknown: " + e.Err.Error() }
func (e *UnknownError) Unwrap() error { return e.Err }
