// Package mem is a store in memory: the reference for what every other engine
// promises, and the store of simulations and tests. Nothing of it is on disk.
//
// Every key keeps its versions, oldest first, and a log keeps the
// transactions; everything else follows from these two.
package mem

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/internal/hub"
	"github.com/gostratos/stratos/store/internal/leases"
	"github.com/gostratos/stratos/store/internal/retention"
)

// Store is a store in memory. Create it with [New]. It keeps the history of
// the last 100 000 revisions, and of the last 10 minutes.
type Store struct {
	id     store.ID
	hub    *hub.Hub
	leases *leases.Keeper

	mu        sync.Mutex
	closed    bool
	rev       store.Revision
	compacted store.Revision
	keys      []string                 // in order; with those whose last version is a deletion
	versions  map[string][]store.Event // of each key, oldest first
	log       []store.Batch            // after compacted
	lastLease store.LeaseID
	granted   map[store.LeaseID]bool
	retention retention.Keeper
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	s := &Store{
		id:       store.NewID(),
		versions: make(map[string][]store.Event),
		granted:  make(map[store.LeaseID]bool),
	}
	s.hub = hub.New(history{s}, 0)
	s.leases = leases.New(s.endLease)
	return s
}

// ID implements [store.Store].
func (s *Store) ID(ctx context.Context) (store.ID, error) {
	defer s.mu.Unlock()
	return s.id, s.lock(ctx)
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string, _ store.ReadOptions) (store.KV, store.Revision, error) {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return store.KV{}, 0, err
	}
	kv, ok := s.at(key, s.rev)
	if !ok {
		return store.KV{}, s.rev, store.ErrNotFound
	}
	return kv, s.rev, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return store.Page{}, err
	}
	if err := o.Validate(s.rev); err != nil {
		return store.Page{}, err
	}
	page := store.Page{Rev: s.rev}
	if o.At != 0 {
		page.Rev = o.At
	}
	if page.Rev < s.compacted {
		return store.Page{}, &store.CompactedError{Oldest: s.compacted, Current: s.rev}
	}
	for _, key := range s.keys[sort.SearchStrings(s.keys, max(prefix, o.After)):] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		kv, ok := s.at(key, page.Rev)
		if !ok || key == o.After {
			continue
		}
		if o.Limit > 0 && len(page.KVs) == o.Limit {
			page.More = true
			break
		}
		page.KVs = append(page.KVs, kv)
	}
	return page, nil
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	err := t.Check(s.rev, func(key string) (store.KV, error) {
		kv, _ := s.at(key, s.rev)
		return kv, nil
	})
	if err != nil {
		return 0, err
	}
	for _, op := range t.Then {
		if op.Lease != 0 && !op.Delete && !s.granted[op.Lease] {
			return 0, fmt.Errorf("%w: lease %d of %s", store.ErrLeaseGone, op.Lease, op.Key)
		}
	}
	s.apply(t.Then)
	return s.rev, nil
}

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	switch {
	case after < s.compacted:
		return nil, &store.CompactedError{Oldest: s.compacted, Current: s.rev}
	case after > s.rev:
		return nil, fmt.Errorf("%w: watch after revision %d, the store is at %d", store.ErrInvalid, after, s.rev)
	}
	return s.hub.Watch(prefix, after), nil
}

// Grant implements [store.Store].
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	if ttl <= 0 {
		return nil, fmt.Errorf("%w: a lease of %s", store.ErrInvalid, ttl)
	}
	s.lastLease++
	s.granted[s.lastLease] = true
	return s.leases.Hold(ctx, s.lastLease, ttl)
}

// Compact implements [store.Store].
func (s *Store) Compact(ctx context.Context, upTo store.Revision) error {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return err
	}
	if upTo > s.rev {
		return fmt.Errorf("%w: compact up to revision %d, the store is at %d", store.ErrInvalid, upTo, s.rev)
	}
	if upTo > s.compacted {
		s.forget(upTo)
	}
	return nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.leases.Close()
	s.hub.Close()
	return nil
}
