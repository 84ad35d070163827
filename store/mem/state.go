package mem

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/gostratos/stratos/store"
)

// lock locks the store, also when it returns an error.
func (s *Store) lock(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

// at returns what was at key when rev was the newest revision; the zero KV if nothing.
func (s *Store) at(key string, rev store.Revision) (store.KV, bool) {
	versions := s.versions[key]
	for i := len(versions) - 1; i >= 0; i-- {
		switch v := versions[i]; {
		case v.Mod > rev:
		case v.Deleted:
			return store.KV{}, false
		default:
			return v.KV, true
		}
	}
	return store.KV{}, false
}

// apply makes one transaction of those operations that change something.
func (s *Store) apply(ops []store.Op) {
	b := store.Batch{Rev: s.rev + 1}
	for _, op := range ops {
		now, exists := s.at(op.Key, s.rev)
		e := store.Event{KV: store.KV{Key: op.Key, Mod: b.Rev}, Deleted: op.Delete}
		switch {
		case op.Delete && !exists:
			continue
		case op.Delete:
		case exists:
			e.Create, e.Value, e.Lease = now.Create, op.Value, op.Lease
		default:
			e.Create, e.Value, e.Lease = b.Rev, op.Value, op.Lease
		}
		b.Events = append(b.Events, e)
	}
	if len(b.Events) == 0 {
		return
	}
	for _, e := range b.Events {
		if _, known := s.versions[e.Key]; !known {
			s.keys = slices.Insert(s.keys, sort.SearchStrings(s.keys, e.Key), e.Key)
		}
		s.versions[e.Key] = append(s.versions[e.Key], e)
	}
	s.rev = b.Rev
	s.log = append(s.log, b)
	s.hub.Publish(b)
	if upTo := s.retention.Horizon(time.Now(), s.rev, s.compacted); upTo > 0 {
		s.forget(upTo)
	}
}

// forget drops what was only needed to see states before upTo.
func (s *Store) forget(upTo store.Revision) {
	s.compacted = upTo
	s.log = slices.Clone(s.log[sort.Search(len(s.log), func(i int) bool { return s.log[i].Rev > upTo }):])
	s.keys = slices.DeleteFunc(s.keys, func(key string) bool {
		versions := s.versions[key]
		first := 0 // the version that was there at upTo
		for first+1 < len(versions) && versions[first+1].Mod <= upTo {
			first++
		}
		versions = versions[first:]
		if versions[0].Deleted && versions[0].Mod <= upTo {
			versions = versions[1:]
		}
		if len(versions) == 0 {
			delete(s.versions, key)
			return true
		}
		s.versions[key] = slices.Clone(versions)
		return false
	})
}

// endLease forgets a lease and deletes its keys.
func (s *Store) endLease(ctx context.Context, id store.LeaseID) error {
	defer s.mu.Unlock()
	if err := s.lock(ctx); err != nil {
		return err
	}
	delete(s.granted, id)
	var ops []store.Op
	for _, key := range s.keys {
		if kv, ok := s.at(key, s.rev); ok && kv.Lease == id {
			ops = append(ops, store.Op{Key: key, Delete: true})
		}
	}
	s.apply(ops)
	return nil
}

// history gives the hub what it no longer has in memory itself.
type history struct{ s *Store }

// After returns the whole log after rev: it is in memory anyway.
func (h history) After(rev store.Revision) ([]store.Batch, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if rev < h.s.compacted {
		return nil, &store.CompactedError{Oldest: h.s.compacted, Current: h.s.rev}
	}
	log := h.s.log
	i := sort.Search(len(log), func(i int) bool { return log[i].Rev > rev })
	return log[i:len(log):len(log)], nil
}
