package storetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/store"
)

// broken is an engine with a mutation; its zero fields break nothing.
type broken struct {
	store.Store

	txn       func(*store.Txn)  // what a transaction becomes
	err       func(error) error // what the error of a transaction becomes
	parts     bool              // each operation is a transaction of its own
	loseEvery int64             // acknowledges each nth transaction without applying it
	noCtx     string            // the method that ignores that its context has ended
	givenUp   bool              // what was applied is sometimes said to be given up
	anyLease  bool

	staleGet, staleBack, pagesMove bool
	compactEats, noCompact         bool
	noClose                        bool

	// What a call becomes.
	id      func(store.ID) store.ID
	get     func(ctx context.Context, s store.Store, key string, o store.ReadOptions) (store.KV, store.Revision, error)
	list    func(ctx context.Context, s store.Store, prefix string, o store.ReadOptions) (store.Page, error)
	apply   func(ctx context.Context, s store.Store, x store.Txn) (store.Revision, error)
	compact func(ctx context.Context, s store.Store, upTo store.Revision) error

	after                                        store.Revision // added to where a watch starts
	noPrefix, watchMoves, watchFuture, slowMoves bool
	watchDies, closeKeeps                        bool
	next                                         func(store.Watcher) func(context.Context) (store.Batch, error)
	lease                                        func(context.Context, store.Store, time.Duration) (store.Lease, error)
	alter                                        func(*brokenLease)

	commits, reads atomic.Int64
	mu             sync.Mutex
	seen           map[string]store.KV
}

func (b *broken) ID(ctx context.Context) (store.ID, error) {
	id, err := b.Store.ID(b.ctx(ctx, "ID"))
	if b.id != nil {
		id = b.id(id)
	}
	return id, err
}

// ctx is the context of a call to method.
func (b *broken) ctx(ctx context.Context, method string) context.Context {
	if b.noCtx == method {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (b *broken) Commit(ctx context.Context, x store.Txn) (store.Revision, error) {
	ctx = b.ctx(ctx, "Commit")
	if b.txn != nil {
		b.txn(&x)
	}
	if b.loseEvery != 0 && b.commits.Add(1)%b.loseEvery == 0 {
		return b.lose(ctx)
	}
	rev, err := b.commit(ctx, x)
	if b.givenUp && err == nil && b.commits.Add(1)%9 == 0 {
		err = context.Canceled
	}
	if b.anyLease && errors.Is(err, store.ErrLeaseGone) {
		withoutLeases(&x)
		rev, err = b.commit(ctx, x)
	}
	if b.err != nil {
		err = b.err(err)
	}
	return rev, err
}

func (b *broken) lose(ctx context.Context) (store.Revision, error) {
	page, err := b.Store.List(ctx, "", store.ReadOptions{Limit: 1})
	return page.Rev + 1, err
}

func (b *broken) commit(ctx context.Context, x store.Txn) (rev store.Revision, err error) {
	if b.apply != nil {
		return b.apply(ctx, b.Store, x)
	}
	if !b.parts || len(x.Then) < 2 {
		return b.Store.Commit(ctx, x)
	}
	for _, op := range x.Then {
		rev, err = b.Store.Commit(ctx, store.Txn{If: x.If, Then: []store.Op{op}})
		if err != nil {
			return rev, err
		}
		x.If = nil
	}
	return rev, nil
}

func (b *broken) Get(ctx context.Context, key string, o store.ReadOptions) (store.KV, store.Revision, error) {
	ctx = b.ctx(ctx, "Get")
	if b.get != nil {
		return b.get(ctx, b.Store, key, o)
	}
	kv, rev, err := b.Store.Get(ctx, key, o)
	if b.staleGet && err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.seen == nil {
			b.seen = make(map[string]store.KV)
		}
		if old, ok := b.seen[key]; ok {
			return old, rev, nil
		}
		b.seen[key] = kv
	}
	return kv, rev, err
}

func (b *broken) List(ctx context.Context, prefix string, o store.ReadOptions) (store.Page, error) {
	ctx = b.ctx(ctx, "List")
	if b.list != nil {
		return b.list(ctx, b.Store, prefix, o)
	}
	at := o.At
	if b.pagesMove {
		o.At = 0
		if at != 0 && o.After != "" {
			now, err := b.Store.List(ctx, prefix, store.ReadOptions{})
			if err != nil {
				return now, err
			}
			o.At = now.Rev
		}
	}
	page, err := b.Store.List(ctx, prefix, o)
	if at != 0 && b.pagesMove {
		page.Rev = at
	}
	if b.staleBack && o.Stale {
		page.Rev -= store.Revision(b.reads.Add(1) % 3 * 2)
	}
	return page, err
}

func (b *broken) Compact(ctx context.Context, upTo store.Revision) error {
	ctx = b.ctx(ctx, "Compact")
	if b.noCompact {
		return nil
	}
	if b.compact != nil {
		return b.compact(ctx, b.Store, upTo)
	}
	if err := b.Store.Compact(ctx, upTo); err != nil || !b.compactEats {
		return err
	}
	page, err := b.Store.List(ctx, "", store.ReadOptions{Limit: 1})
	if err != nil {
		return err
	}
	_, err = b.Store.Commit(ctx, store.Txn{Then: []store.Op{{Key: page.KVs[0].Key, Delete: true}}})
	return err
}

func (b *broken) Close() error {
	if b.noClose {
		return nil
	}
	return b.Store.Close()
}

func (b *broken) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	ctx = b.ctx(ctx, "Watch")
	if b.noPrefix {
		prefix = ""
	}
	w, err := b.Store.Watch(ctx, prefix, after+b.after)
	if b.after != 0 && err != nil { // as far as the engine lets it
		w, err = b.Store.Watch(ctx, prefix, after)
	}
	var compacted *store.CompactedError
	if errors.As(err, &compacted) && b.watchMoves {
		w, err = b.Store.Watch(ctx, prefix, compacted.Oldest)
	}
	if errors.Is(err, store.ErrInvalid) && b.watchFuture {
		w, err = b.Store.Watch(ctx, prefix, 0)
	}
	if err != nil {
		return nil, err
	}
	bw := &brokenWatcher{Watcher: w, next: w.Next, closeKeeps: b.closeKeeps, skip: after}
	if b.next != nil {
		bw.next = b.next(w)
	}
	if b.after > 0 { // a start in the future waits for it
		bw.skip += b.after
	} else {
		bw.skip = 0
	}
	if b.slowMoves {
		bw.next = b.slowAgain(w, prefix)
	}
	if b.watchDies {
		context.AfterFunc(ctx, w.Close)
	}
	return bw, nil
}

func (b *broken) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	ctx = b.ctx(ctx, "Grant")
	grant := b.lease
	if grant == nil {
		grant = func(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
			return s.Grant(ctx, ttl)
		}
	}
	l, err := grant(ctx, b.Store, ttl)
	if err != nil {
		return nil, err
	}
	bl := &brokenLease{Lease: l, store: b.Store}
	if b.alter != nil {
		b.alter(bl)
	}
	return bl, nil
}

type brokenWatcher struct {
	store.Watcher
	next       func(context.Context) (store.Batch, error)
	closeKeeps bool
	skip       store.Revision
}

func (w *brokenWatcher) Close() {
	if !w.closeKeeps {
		w.Watcher.Close()
	}
}

func (w *brokenWatcher) Next(ctx context.Context) (store.Batch, error) {
	for {
		b, err := w.next(ctx)
		if err != nil || len(b.Events) == 0 || b.Rev > w.skip {
			return b, err
		}
	}
}

// slowAgain watches from where it can, when it lost its place.
func (b *broken) slowAgain(w store.Watcher, prefix string) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		batch, err := w.Next(ctx)
		var slow *store.SlowError
		if !errors.As(err, &slow) {
			return batch, err
		}
		_, err = b.Store.Watch(ctx, prefix, 0)
		var compacted *store.CompactedError
		if !errors.As(err, &compacted) {
			return batch, err
		}
		if w, err = b.Store.Watch(ctx, prefix, compacted.Oldest); err != nil {
			return batch, err
		}
		return w.Next(ctx)
	}
}
