// Package store keeps the records that must not be lost: tenants, subscriptions, the topology, intents.
//
// A [Store] is a small, revisioned map from keys to records. Every committed
// transaction gets the next [Revision] of one total order, so whoever lists at
// revision R and watches after R sees every later transaction, whole, in
// order, once: the record in the store is the message, and nothing is told twice.
//
// The contract of the interface is what package storetest pins down for every
// engine: mem (the reference), bolt (the default, one file) and etcd (several
// machines). [Campaign] is one recipe for leader election over any of them;
// [Record] gives typed, forward-compatible access to the JSON records that the
// platform keeps.
//
// # Limits
//
// A transaction has at most [MaxTxnOps] operations and [MaxTxnBytes] bytes, a
// value [MaxValueBytes], a key [MaxKeyBytes]: beyond them, [ErrTooLarge].
// Heartbeats, samples and statistics never go into a store; only transitions do.
package store

import (
	"context"
	"time"
)

// Portable limits, the same for every engine.
const (
	MaxTxnOps     = 100       // operations in one transaction
	MaxTxnBytes   = 1 << 20   // keys and values of one transaction
	MaxValueBytes = 256 << 10 // one value
	MaxKeyBytes   = 512       // one key
)

// ProgressEvery is the longest time for which a [Watcher] stays silent: it
// reports its progress with an empty [Batch] at least that often.
const ProgressEvery = 5 * time.Second

// Revision is the position of a committed transaction in one total order. It
// grows, survives restarts and is never used again; gaps are allowed. The
// first transaction has a revision above 0.
type Revision int64

// LeaseID names a lease within its store; 0 is no lease.
type LeaseID int64

// KV is a record: a key, its value, and the revisions at which the key was
// created and last written. Lease, if not 0, is the lease it dies with.
type KV struct {
	Key         string
	Value       []byte
	Create, Mod Revision
	Lease       LeaseID
}

// CondKind is what a [Cond] compares.
type CondKind int

// The comparisons.
const (
	CondMod    CondKind = iota // the key was last written at Rev
	CondCreate                 // the key was created at Rev
)

// Cond is a condition of a transaction. Rev 0 means, for either kind, that the key is absent.
type Cond struct {
	Key  string
	Kind CondKind
	Rev  Revision
}

// Op writes Key, or deletes it. Deleting an absent key is no error and makes no event.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  LeaseID // the key is deleted when this lease ends; 0 for none
}

// Txn is applied as a whole: if all of If hold, then all of Then, atomically.
// A key stands at most once in Then.
type Txn struct {
	If   []Cond
	Then []Op
}

// Event is a change of one key. When Deleted, KV holds the key and, as Mod,
// the revision of the deletion, and no value.
type Event struct {
	KV
	Deleted bool
}

// Batch holds all events of one transaction that are below a watcher's prefix,
// never split. One without events is a progress mark: nothing else happened up
// to Rev.
type Batch struct {
	Rev    Revision
	Events []Event
}

// ReadOptions says how to read. The zero value reads the newest committed
// state, linearizably, and the whole of it.
type ReadOptions struct {
	// Stale allows an answer that lags behind, but never goes backwards on one handle.
	Stale bool
	// Limit is the most records of a page (List only). Default: no limit.
	Limit int
	// After continues an iteration after this key (List only); At must then be
	// the revision of the first page, so that all pages show one state.
	After string
	// At asks for the records as they were then (List only). Default: now.
	At Revision
}

// Page is an answer of List: records in the order of their keys, as they were
// at Rev. If More is set, go on with After: the last key, At: Rev.
type Page struct {
	KVs  []KV
	Rev  Revision
	More bool
}

// Store keeps records. All methods may be called concurrently. Values passed
// in belong to the store from then on, and values handed out are shared:
// neither may be changed by the caller.
type Store interface {
	// ID returns which store this is. It does not change while the store is open.
	ID(ctx context.Context) (ID, error)
	// Get returns the record at key and the revision it was read at, or ErrNotFound.
	Get(ctx context.Context, key string, o ReadOptions) (KV, Revision, error)
	// List returns the records whose keys begin with prefix, in the order of
	// their keys. A page of a state that was compacted away is a *CompactedError.
	List(ctx context.Context, prefix string, o ReadOptions) (Page, error)
	// Commit applies t and returns its revision once it is on disk (on a
	// majority's disks). *ConflictError, *FencedError, ErrTooLarge, ErrFull,
	// ErrInvalid, ErrLeaseGone and ErrClosed: surely not applied.
	// The error of a ctx that ended, alone: neither. *UnknownError: it may or
	// may not have been applied; read again. A transaction that changes
	// nothing (no operations, or only deletions of absent keys) checks its
	// conditions, makes no revision and returns the current one.
	//
	// A guard that does not hold, a [CondCreate] on a key below [LeaderPrefix],
	// is a *FencedError, also when other conditions fail too.
	Commit(ctx context.Context, t Txn) (Revision, error)
	// Watch follows all transactions after the revision after that touch
	// prefix. List at R, then Watch after R: no gap, no overlap. A start that
	// was compacted away fails at once with *CompactedError, a start in the
	// future with ErrInvalid. When ctx ends, so does the call, but not the watcher.
	Watch(ctx context.Context, prefix string, after Revision) (Watcher, error)
	// Grant makes a lease of ttl. The engine renews it until it is revoked or
	// ctx ends; keys written with it are deleted when it ends, and never before
	// ttl has passed since the last renewal. After a restart of the engine, a
	// lease that was alive gets a full ttl again.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// Compact forgets history up to and including upTo. Records stay. What was
	// forgotten before is no error, a revision in the future is ErrInvalid.
	Compact(ctx context.Context, upTo Revision) error
	// Close ends all watchers and leases' renewals and releases the store. Keys
	// of leases stay until their ttl has passed after the next opening. Every
	// later call fails with ErrClosed, but a second Close is no error.
	Close() error
}

// Watcher hands out batches, one at a time: a reader that does not call Next
// delays nobody but itself.
type Watcher interface {
	// Next returns the next batch, or waits for it. If ctx ends, it returns its
	// error and nothing is lost. A reader that fell too far behind gets
	// *SlowError, once, and the watcher is at its end: from then on, and after
	// Close, ErrClosed.
	Next(ctx context.Context) (Batch, error)
	// Close releases the watcher. It may be called more than once.
	Close()
}

// Lease is a promise with an end, measured on the monotonic clock.
type Lease interface {
	ID() LeaseID
	TTL() time.Duration
	// Deadline is the earliest time at which the lease may end unless it is
	// renewed before. It counts from before the last renewal was sent.
	Deadline() time.Time
	// Done is closed when the lease ended or is no longer renewed.
	Done() <-chan struct{}
	// Revoke ends the lease and deletes its keys, in one transaction. A lease
	// that has ended is no error. If Revoke fails, the lease ends by itself.
	Revoke(ctx context.Context) error
}
