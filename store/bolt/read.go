package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gostratos/stratos/store"
)

// How much of the history is read at a time.
const (
	historyBatches = 256
	historyBytes   = 4 << 20
)

// view runs fn in a reading transaction. Errors about the file name it.
func (s *Store) view(ctx context.Context, fn func(*bbolt.Tx, meta) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	err := s.look(func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		return fn(tx, m)
	})
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return store.ErrClosed
	case errors.Is(err, errDamaged):
		return fmt.Errorf("store %s: %w: %s", s.path, err, cure)
	}
	return err
}

// look runs fn in a reading transaction.
func (s *Store) look(fn func(*bbolt.Tx) error) error {
	tx, err := s.begin(false)
	if err != nil {
		return err
	}
	err = guard(func() error { return fn(tx) })
	if undone := s.locked(tx.Rollback); err == nil {
		err = undone
	}
	return err
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string, _ store.ReadOptions) (kv store.KV, rev store.Revision, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx, m meta) error {
		rev = m.rev
		kv, err = get(tx, key)
		if err == nil && kv.Create == 0 {
			err = store.ErrNotFound
		}
		return err
	})
	return kv, rev, err
}

// get returns the record at key; the zero KV if there is none.
func get(tx *bbolt.Tx, key string) (store.KV, error) {
	v := bucket(tx, bucketKV).Get([]byte(key))
	if v == nil {
		return store.KV{}, nil
	}
	return decodeKV(key, v)
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, prefix string, o store.ReadOptions) (page store.Page, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx, m meta) error {
		if err := o.Validate(m.rev); err != nil {
			return err
		}
		page.Rev = m.rev
		var before map[string]store.KV
		if o.At != 0 && o.At != m.rev {
			if o.At < m.compacted {
				return &store.CompactedError{Oldest: m.compacted, Current: m.rev}
			}
			page.Rev = o.At
			if before, err = undo(ctx, tx, prefix, o); err != nil {
				return err
			}
		}
		return list(ctx, tx, prefix, o, before, &page)
	})
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// undo returns what was at o.At at those keys that have changed since: the
// oldest change after it tells.
func undo(ctx context.Context, tx *bbolt.Tx, prefix string, o store.ReadOptions) (map[string]store.KV, error) {
	before := make(map[string]store.KV)
	c := bucket(tx, bucketLog).Cursor()
	for k, v := c.Seek(bigEndian(o.At + 1)); k != nil; k, v = c.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		changes, err := decodeChanges(revision(k), v)
		if err != nil {
			return nil, err
		}
		for _, ch := range changes {
			key := ch.event.Key
			if _, known := before[key]; !known && strings.HasPrefix(key, prefix) && key > o.After {
				before[key] = ch.before
			}
		}
	}
	return before, nil
}

// list adds to page the records as they are now, or as they were where before knows.
func list(ctx context.Context, tx *bbolt.Tx, prefix string, o store.ReadOptions, before map[string]store.KV, page *store.Page) error {
	add := func(kv store.KV) {
		switch {
		case kv.Create == 0: // was not there
		case o.Limit > 0 && len(page.KVs) == o.Limit:
			page.More = true
		default:
			page.KVs = append(page.KVs, kv)
		}
	}
	changed := slices.Sorted(maps.Keys(before))
	for kv, err := range now(tx, prefix, o.After) {
		if err != nil {
			return err
		}
		n, found := slices.BinarySearch(changed, kv.Key)
		for _, gone := range changed[:n] {
			add(before[gone])
		}
		changed = changed[n:]
		if found {
			kv, changed = before[kv.Key], changed[1:]
		}
		if add(kv); page.More {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for _, gone := range changed {
		add(before[gone])
	}
	return nil
}

// now yields the records below prefix that come after a key.
func now(tx *bbolt.Tx, prefix, after string) iter.Seq2[store.KV, error] {
	return func(yield func(store.KV, error) bool) {
		c := bucket(tx, bucketKV).Cursor()
		for k, v := c.Seek([]byte(max(prefix, after))); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			if string(k) == after {
				continue
			}
			if !yield(decodeKV(string(k), v)) {
				return
			}
		}
	}
}

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	err := s.view(ctx, func(_ *bbolt.Tx, m meta) error {
		switch {
		case after < m.compacted:
			return &store.CompactedError{Oldest: m.compacted, Current: m.rev}
		case after > m.rev:
			return fmt.Errorf("%w: watch after revision %d, the store is at %d", store.ErrInvalid, after, m.rev)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.hub.Watch(prefix, after), nil
}

// history gives the hub what it no longer has in memory.
type history struct{ s *Store }

// After reads the next few transactions from the file.
func (h history) After(rev store.Revision) ([]store.Batch, error) {
	var batches []store.Batch
	err := h.s.view(context.Background(), func(tx *bbolt.Tx, m meta) error {
		if rev < m.compacted {
			return &store.CompactedError{Oldest: m.compacted, Current: m.rev}
		}
		c := bucket(tx, bucketLog).Cursor()
		size := 0
		for k, v := c.Seek(bigEndian(rev + 1)); k != nil && len(batches) < historyBatches && size < historyBytes; k, v = c.Next() {
			changes, err := decodeChanges(revision(k), v)
			if err != nil {
				return err
			}
			batches = append(batches, batch(revision(k), changes))
			size += len(v)
		}
		return nil
	})
	return batches, err
}

func batch(rev store.Revision, changes []change) store.Batch {
	b := store.Batch{Rev: rev, Events: make([]store.Event, len(changes))}
	for i, ch := range changes {
		b.Events[i] = ch.event
	}
	return b
}

func revision(key []byte) store.Revision { return store.Revision(binary.BigEndian.Uint64(key)) }
