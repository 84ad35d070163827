package etcd

import (
	"context"
	"fmt"
	"math"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
)

// listChunk is how many records one request of a long list asks for.
const listChunk = 4096

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	o = store.ReadOptions{Stale: o.Stale} // the others are of List
	resp, err := s.get(ctx, s.key(key), o)
	if err != nil {
		return store.KV{}, 0, err
	}
	rev := at(resp, o)
	if len(resp.Kvs) == 0 {
		return store.KV{}, rev, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return s.kv(resp.Kvs[0]), rev, nil
}

// List implements [store.Store]. A list without a limit is read in parts, all
// of one revision.
func (s *Store) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	if err := o.Validate(math.MaxInt64); err != nil {
		return store.Page{}, err
	}
	first, end := s.key(prefix), clientv3.GetPrefixRangeEnd(s.key(prefix))
	if o.After != "" {
		first = max(first, s.key(o.After)+"\x00")
	}
	page := store.Page{KVs: []store.KV{}}
	if first >= end {
		first = end // After is behind the prefix: an empty range, but a read all the same
	}
	for {
		chunk := listChunk
		if o.Limit > 0 {
			chunk = min(chunk, o.Limit-len(page.KVs))
		}
		resp, err := s.get(ctx, first, o, clientv3.WithRange(end), clientv3.WithLimit(int64(chunk)))
		if err != nil {
			return store.Page{}, err
		}
		page.Rev = at(resp, o)
		o.At = page.Rev
		for _, kv := range resp.Kvs {
			page.KVs = append(page.KVs, s.kv(kv))
		}
		page.More = resp.More
		if !page.More || len(page.KVs) == o.Limit {
			return page, nil
		}
		first = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// at is the revision of an answer.
func at(resp *clientv3.GetResponse, o store.ReadOptions) store.Revision {
	if o.At != 0 {
		return o.At
	}
	return store.Revision(resp.Header.Revision)
}

// get reads as o says. A stale answer comes from whichever server is asked; it
// is given up for a linearizable one if this store has seen a newer state. A
// read of one revision is the same everywhere, so it need not be stale.
func (s *Store) get(ctx context.Context, key string, o store.ReadOptions, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if o.Stale && o.At == 0 {
		seen := s.seen.Load()
		resp, err := s.read(ctx, key, clientv3.OpGet(key, append(opts, clientv3.WithSerializable())...))
		if err != nil {
			return nil, err
		}
		if resp.Header.Revision >= seen {
			s.see(resp.Header.Revision)
			return resp, nil
		}
	}
	resp, err := s.read(ctx, key, clientv3.OpGet(key, append(opts, clientv3.WithRev(int64(o.At)))...))
	if isAny(err, rpctypes.ErrCompacted) {
		return nil, s.compacted(ctx, o.At)
	}
	if err != nil {
		return nil, err
	}
	s.see(resp.Header.Revision)
	return resp, nil
}
