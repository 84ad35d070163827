package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gostratos/stratos/store"
)

// writer is one transaction of the file, in which a group does its work.
type writer struct {
	tx      *bbolt.Tx
	meta    meta // as it will be
	dirty   bool
	batches []store.Batch // what the watchers will see
	err     error         // the first error of the file itself: the whole group fails
}

func newWriter(tx *bbolt.Tx) (*writer, error) {
	m, err := readMeta(tx)
	return &writer{tx: tx, meta: m}, err
}

// finish writes what is written once for the group.
func (w *writer) finish() error {
	return errors.Join(
		putNumber(w.tx, keyRev, int64(w.meta.rev)),
		putNumber(w.tx, keyCompacted, int64(w.meta.compacted)),
	)
}

// keep notes an error of the file.
func (w *writer) keep(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, t store.Txn) (store.Revision, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	size := 0
	for _, op := range t.Then {
		size += len(op.Key) + len(op.Value)
	}
	return s.do(ctx, size, func(w *writer) error { return w.commit(t) })
}

// Compact implements [store.Store].
func (s *Store) Compact(ctx context.Context, upTo store.Revision) error {
	_, err := s.do(ctx, 0, func(w *writer) error {
		if upTo > w.meta.rev {
			return fmt.Errorf("%w: compact up to revision %d, the store is at %d", store.ErrInvalid, upTo, w.meta.rev)
		}
		return w.compact(upTo)
	})
	return err
}

func (w *writer) commit(t store.Txn) error {
	err := t.Check(w.meta.rev, func(key string) (store.KV, error) {
		kv, err := get(w.tx, key)
		if err != nil {
			return kv, w.keep(err)
		}
		return kv, nil
	})
	if err != nil {
		return err
	}
	for _, op := range t.Then {
		if op.Lease != 0 && !op.Delete && bucket(w.tx, bucketLeases).Get(bigEndian(op.Lease)) == nil {
			return fmt.Errorf("%w: lease %d of %s", store.ErrLeaseGone, op.Lease, op.Key)
		}
	}
	return w.apply(t.Then)
}

// apply makes one transaction of those operations that change something.
func (w *writer) apply(ops []store.Op) error {
	rev := w.meta.rev + 1
	var changes []change
	var enc []byte
	for _, op := range ops {
		before, err := get(w.tx, op.Key)
		if err != nil {
			return w.keep(err)
		}
		if op.Delete && before.Create == 0 {
			continue
		}
		c := change{before: before, event: store.Event{KV: store.KV{Key: op.Key, Mod: rev}, Deleted: op.Delete}}
		if !op.Delete {
			c.event.Create, c.event.Value, c.event.Lease = before.Create, op.Value, op.Lease
			if before.Create == 0 {
				c.event.Create = rev
			}
		}
		if err := w.put(c); err != nil {
			return w.keep(err)
		}
		changes = append(changes, c)
		enc = appendChange(enc, c)
	}
	if len(changes) == 0 {
		return nil
	}
	log := bucket(w.tx, bucketLog)
	log.FillPercent = 0.9 // revisions only grow
	if err := log.Put(bigEndian(rev), enc); err != nil {
		return w.keep(err)
	}
	w.meta.rev, w.dirty = rev, true
	w.batches = append(w.batches, batch(rev, changes))
	return nil
}

// put changes a record, and the lease it belongs to.
func (w *writer) put(c change) error {
	key, kv, leases := []byte(c.event.Key), bucket(w.tx, bucketKV), bucket(w.tx, bucketLeases)
	if was := c.before.Lease; was != 0 && was != c.event.Lease {
		if err := leases.Delete(append(bigEndian(was), key...)); err != nil {
			return err
		}
	}
	if c.event.Deleted {
		return kv.Delete(key)
	}
	if is := c.event.Lease; is != 0 && is != c.before.Lease {
		if err := leases.Put(append(bigEndian(is), key...), nil); err != nil {
			return err
		}
	}
	return kv.Put(key, appendKV(nil, c.event.KV))
}

// compact forgets the log up to and including a revision.
func (w *writer) compact(upTo store.Revision) error {
	if upTo <= w.meta.compacted {
		return nil
	}
	log := bucket(w.tx, bucketLog)
	var old [][]byte // collected first: deleting moves the cursor
	c := log.Cursor()
	for k, _ := c.First(); k != nil && revision(k) <= upTo; k, _ = c.Next() {
		old = append(old, k)
	}
	for _, k := range old {
		if err := log.Delete(k); err != nil {
			return w.keep(err)
		}
	}
	w.meta.compacted, w.dirty = upTo, true
	return nil
}

// Grant implements [store.Store]. The lease is on the disk before it is used,
// so that it lives on after a restart.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("%w: a lease of %s", store.ErrInvalid, ttl)
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var id store.LeaseID
	// Without ctx: a lease that nobody knows of would have no end.
	_, err := s.do(context.WithoutCancel(ctx), 0, func(w *writer) error {
		leases := bucket(w.tx, bucketLeases)
		n, err := leases.NextSequence()
		if err == nil {
			id = store.LeaseID(n)
			err = leases.Put(bigEndian(id), bigEndian(ttl))
		}
		w.dirty = true
		return w.keep(err)
	})
	if err != nil {
		return nil, err
	}
	return s.leases.Hold(ctx, id, ttl)
}

// endLease deletes the keys of a lease, in one transaction, and forgets it.
func (s *Store) endLease(ctx context.Context, id store.LeaseID) error {
	_, err := s.do(ctx, 0, func(w *writer) error {
		leases, prefix := bucket(w.tx, bucketLeases), bigEndian(id)
		if leases.Get(prefix) == nil {
			return nil
		}
		var ops []store.Op
		c := leases.Cursor()
		for k, _ := c.Seek(prefix); len(k) >= 8 && string(k[:8]) == string(prefix); k, _ = c.Next() {
			if key := string(k[8:]); key != "" {
				ops = append(ops, store.Op{Key: key, Delete: true})
			}
		}
		w.dirty = true
		return errors.Join(w.keep(leases.Delete(prefix)), w.apply(ops))
	})
	return err
}

// eachLease calls fn for the leases of an earlier run.
func eachLease(tx *bbolt.Tx, fn func(store.LeaseID, time.Duration) error) error {
	return bucket(tx, bucketLeases).ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			return nil // a key of a lease
		}
		if len(v) != 8 {
			return fmt.Errorf("lease %x: %w", k, errDamaged)
		}
		id := store.LeaseID(binary.BigEndian.Uint64(k))
		return fn(id, time.Duration(binary.BigEndian.Uint64(v)))
	})
}
