// Package etcd is the store of several machines: an etcd cluster that the
// operator runs, shared by all replicas of the control plane.
//
// Every commit is one etcd transaction, a [store.Revision] is etcd's own, and
// a watcher is one etcd watch. All keys are below one prefix, so that a
// cluster can serve others too: revisions then have gaps, and the compaction
// of history concerns all of them.
//
// Servers must be of [OldestServer] or newer: older ones have lost data, or
// told watchers and holders of leases what was not so. Without TLS, only
// endpoints on loopback addresses are accepted.
//
// # After a disaster
//
// A snapshot that is restored forgets transactions that were acknowledged.
// Open notices, and refuses: run [RaiseGeneration] once, before any control
// plane starts, so that everybody who remembers more reads all again. Give the
// restored cluster a new --initial-cluster-token, as etcd's guide says; Open
// then notices in every case.
//
// When etcd's space quota is used up, commits fail with [store.ErrFull] until
// the operator has compacted, defragmented and disarmed the alarm. The error is
// a [store.UnknownError] too: etcd says the same of the transactions that it
// refuses and of the last one that it applies.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/retention"
)

// Config says where the cluster is. Only Endpoints are required.
type Config struct {
	// Endpoints are host:port, or URLs. One that does not answer is no error, if another does.
	Endpoints []string
	// Prefix is what all keys begin with, at most 256 bytes. Default: "stratos/".
	Prefix string
	// TLS is required for endpoints that are not on a loopback address.
	TLS *tls.Config
	// Username and Password are for clusters with authentication.
	Username string
	Password string
	// DialTimeout is how long Open waits for an endpoint to answer. Default: 5 s.
	DialTimeout time.Duration
	// KeepRevisions and KeepFor say how much history is kept at least. What is
	// beyond both is compacted, by whichever replica comes first; with
	// authentication, only root may: let etcd compact by itself then, with
	// --auto-compaction-mode and --auto-compaction-retention. Defaults:
	// 100 000 revisions, 10 minutes (since the store was opened).
	KeepRevisions int64
	KeepFor       time.Duration
	// Log is told what an operator must know. Default: nothing is logged.
	Log *slog.Logger
}

// Store is a connection to a cluster. Create it with [Open].
type Store struct {
	client  *clientv3.Client
	records string // what the keys of records begin with
	idKey   string
	id      store.ID
	signed  bool // calls carry a token, that may have to be renewed
	keep    retention.Policy
	log     *slog.Logger
	seen    atomic.Int64 // the highest revision of any answer

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open connects to the cluster, and makes the store's ID if there is none. It
// fails if no endpoint answers, a server is too old, or the cluster was
// restored from a snapshot. The store owns goroutines from now on, until Close.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, found, err := connect(ctx, c)
	if err != nil {
		return nil, err
	}
	id, err := s.identify(ctx, found)
	if err == nil {
		err = id.check(found, s.idKey)
	}
	if err != nil {
		return nil, closing(s, err)
	}
	s.id = id.ID
	s.start(s.compactLoop)
	return s, nil
}

// closing returns err after s was given up.
func closing(s *Store, err error) error {
	_ = s.Close() // err tells more
	return err
}

// ID implements [store.Store].
func (s *Store) ID(ctx context.Context) (store.ID, error) {
	if s.ctx.Err() != nil {
		return store.ID{}, store.ErrClosed
	}
	return s.id, ctx.Err()
}

// Close implements [store.Store]. A commit that is under way ends with
// *store.UnknownError, unless it has not been sent yet.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	if !first {
		return nil
	}
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the connection to etcd: %w", err)
	}
	return nil
}

// start runs f until it returns; f ends with the store's context. It reports
// false if the store is closed.
func (s *Store) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// key returns where the record at key is.
func (s *Store) key(key string) string { return s.records + key }
