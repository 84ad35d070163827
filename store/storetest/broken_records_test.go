package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gostratos/stratos/store"
)

type (
	getter  = func(ctx context.Context, s store.Store, key string, o store.ReadOptions) (store.KV, store.Revision, error)
	lister  = func(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error)
	applier = func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error)
)

// getsThePast takes At of a Get for what it is of a List.
func getsThePast(ctx context.Context, s store.Store, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	kv, rev, err := s.Get(ctx, key, o)
	if o.At == 0 || err != nil {
		return kv, rev, err
	}
	page, err := s.List(ctx, key, o)
	if err != nil || len(page.KVs) == 0 {
		return store.KV{}, page.Rev, errors.Join(err, store.ErrNotFound)
	}
	return page.KVs[0], page.Rev, nil
}

// getsOldRevision tells when the record was written, not when it was read.
func getsOldRevision(ctx context.Context, s store.Store, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	kv, _, err := s.Get(ctx, key, o)
	return kv, kv.Mod, err
}

// remembersCreation tells of a record that was deleted in between when it was first created.
func remembersCreation() getter {
	var mu sync.Mutex
	first := make(map[string]store.Revision)
	return func(ctx context.Context, s store.Store, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
		page, err := s.List(ctx, key, store.ReadOptions{At: 1})
		mu.Lock()
		defer mu.Unlock()
		for _, kv := range page.KVs {
			first[kv.Key] = kv.Create
		}
		if err != nil {
			return store.KV{}, 0, err
		}
		kv, rev, err := s.Get(ctx, key, o)
		if create, ok := first[key]; ok && err == nil {
			kv.Create = create
		}
		return kv, rev, err
	}
}

// eachPage changes what a list answers.
func eachPage(f func(*store.Page, store.ReadOptions)) lister {
	return func(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
		page, err := s.List(ctx, prefix, o)
		if err == nil {
			page.KVs = append([]store.KV{}, page.KVs...)
			f(&page, o)
		}
		return page, err
	}
}

// eachList changes what is asked of a list.
func eachList(f func(prefix *string, o *store.ReadOptions)) lister {
	return func(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
		f(&prefix, &o)
		return s.List(ctx, prefix, o)
	}
}

// listsStale lists what was there one revision ago.
func listsStale(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
	page, err := s.List(ctx, prefix, o)
	if err != nil || o.At != 0 || page.Rev < 2 {
		return page, err
	}
	o.At = page.Rev - 1
	return s.List(ctx, prefix, o)
}

// listsInPieces reads a list without a limit in pieces, each of the present.
func listsInPieces(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
	const piece = 1000
	if o.Limit != 0 || o.At != 0 {
		return s.List(ctx, prefix, o)
	}
	o.Limit = piece
	all, err := s.List(ctx, prefix, o)
	for page := all; err == nil && page.More; {
		now := page.Rev
		for now == page.Rev && err == nil { // somebody writes
			var head store.Page
			head, err = s.List(ctx, prefix, store.ReadOptions{Limit: 1})
			now = head.Rev
		}
		o.After, o.At = page.KVs[len(page.KVs)-1].Key, now
		if err == nil {
			page, err = s.List(ctx, prefix, o)
		}
		all.KVs = append(all.KVs, page.KVs...)
	}
	all.More = false
	return all, err
}

// beginsWithAfter repeats the last record of the former page.
func beginsWithAfter(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
	after := o.After
	page, err := s.List(ctx, prefix, o)
	if err != nil || after == "" || !strings.HasPrefix(after, prefix) {
		return page, err
	}
	o.After, o.Limit = "", 0
	all, err := s.List(ctx, prefix, o)
	for _, kv := range all.KVs {
		if kv.Key == after {
			page.KVs = slices.Insert(slices.Clone(page.KVs), 0, kv)
		}
	}
	return page, err
}

// servesCompacted serves a page of a state that is gone from the oldest there is.
func servesCompacted(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
	page, err := s.List(ctx, prefix, o)
	var compacted *store.CompactedError
	if errors.As(err, &compacted) {
		o.At = compacted.Oldest
		return s.List(ctx, prefix, o)
	}
	return page, err
}

// reusesPages hands out the same memory again and again.
func reusesPages() lister {
	buffer := make([]store.KV, 0, 100)
	return func(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error) {
		page, err := s.List(ctx, prefix, o)
		page.KVs = append(buffer, page.KVs...)
		return page, err
	}
}

// eachTxn changes what is committed.
func eachTxn(f func(ctx context.Context, s store.Store, x *store.Txn) error) applier {
	return func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
		x.Then = slices.Clone(x.Then)
		if err := f(ctx, s, &x); err != nil {
			return 0, err
		}
		return s.Commit(ctx, x)
	}
}

// deletesAbsent makes a key, so that there is something to delete.
func deletesAbsent(ctx context.Context, s store.Store, x *store.Txn) error {
	for _, op := range x.Then {
		if !op.Delete {
			continue
		}
		create := store.Txn{If: []store.Cond{{Key: op.Key}}, Then: []store.Op{{Key: op.Key}}}
		var conflict *store.ConflictError
		if _, err := s.Commit(ctx, create); err != nil && !errors.As(err, &conflict) {
			return err
		}
	}
	return nil
}

// keepsLeases leaves a record with the lease that it had.
func keepsLeases(ctx context.Context, s store.Store, x *store.Txn) error {
	for i, op := range x.Then {
		kv, _, err := s.Get(ctx, op.Key, store.ReadOptions{})
		if err == nil && kv.Lease != 0 {
			x.Then[i].Lease = kv.Lease
		}
	}
	return nil
}

func fewConditions(_ context.Context, _ store.Store, x *store.Txn) error {
	if len(x.If) > store.MaxTxnOps/2 {
		return store.ErrTooLarge
	}
	return nil
}

// absenceIsNoGuard answers a guard that nobody leads like another condition.
func absenceIsNoGuard(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
	rev, err := s.Commit(ctx, x)
	var fenced *store.FencedError
	if errors.As(err, &fenced) && x.If[0].Rev == 0 {
		err = &store.ConflictError{Failed: x.If[0]}
	}
	return rev, err
}

// oneLess gives each transaction the revision of the one before.
func oneLess(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error) {
	rev, err := s.Commit(ctx, x)
	return rev - 1, err
}

// compactsTheFuture takes any revision.
func compactsTheFuture(ctx context.Context, s store.Store, upTo store.Revision) error {
	if err := s.Compact(ctx, upTo); !errors.Is(err, store.ErrInvalid) {
		return err
	}
	return nil
}

// compactsOnce refuses what was forgotten before.
func compactsOnce(ctx context.Context, s store.Store, upTo store.Revision) error {
	_, err := s.List(ctx, "", store.ReadOptions{At: max(upTo, 1)})
	var compacted *store.CompactedError
	if errors.As(err, &compacted) {
		return err
	}
	return s.Compact(ctx, upTo)
}
