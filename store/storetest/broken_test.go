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
	noCtx     bool
	givenUp   bool // what was applied is sometimes said to be given up
	anyLease  bool

	staleGet, staleBack, pagesMove bool
	compactEats, noCompact         bool
	noClose, newID                 bool

	after                                        store.Revision // added to where a watch starts
	noPrefix, watchMoves, watchFuture, slowMoves bool
	watchDies, closeKeeps                        bool
	next                                         func(store.Watcher) func(context.Context) (store.Batch, error)
	lease                                        func(context.Context, store.Store, time.Duration) (store.Lease, error)
	deadline                                     time.Duration
	noRevoke                                     bool

	commits, ids, reads atomic.Int64
	mu                  sync.Mutex
	seen                map[string]store.KV
}

func (b *broken) ID(ctx context.Context) (store.ID, error) {
	id, err := b.Store.ID(ctx)
	if b.newID {
		id.Generation = b.ids.Add(1)
	}
	return id, err
}

func (b *broken) Commit(ctx context.Context, x store.Txn) (store.Revision, error) {
	if b.noCtx {
		ctx = context.WithoutCancel(ctx)
	}
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
	if b.noCtx {
		ctx = context.WithoutCancel(ctx)
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
	if b.noCompact {
		return nil
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
	if b.noCtx {
		ctx = context.WithoutCancel(ctx)
	}
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
	return &brokenLease{Lease: l, late: b.deadline, noRevoke: b.noRevoke}, nil
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

type brokenLease struct {
	store.Lease
	late     time.Duration
	noRevoke bool
}

func (l *brokenLease) Deadline() time.Time { return l.Lease.Deadline().Add(l.late) }

func (l *brokenLease) Revoke(ctx context.Context) error {
	if l.noRevoke {
		return nil
	}
	return l.Lease.Revoke(ctx)
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

// endsEarly revokes a lease halfway after it is no longer renewed.
func endsEarly(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	l, err := s.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		time.AfterFunc(ttl/4, func() { _ = l.Revoke(context.Background()) })
	})
	return l, nil
}

func notRenewed(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	once, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.Grant(once, ttl)
}

func neverEnds(ctx context.Context, s store.Store, ttl time.Duration) (store.Lease, error) {
	return s.Grant(context.WithoutCancel(ctx), ttl)
}

func splitBatches() func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		var rest store.Batch
		return func(ctx context.Context) (store.Batch, error) {
			b := rest
			if len(b.Events) == 0 {
				var err error
				if b, err = w.Next(ctx); err != nil {
					return b, err
				}
			}
			n := min(1, len(b.Events))
			rest = store.Batch{Rev: b.Rev, Events: b.Events[n:]}
			return store.Batch{Rev: b.Rev, Events: b.Events[:n]}, nil
		}
	}
}

func dropEvery(n int) func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		i := 0
		return func(ctx context.Context) (store.Batch, error) {
			if i++; i%n == 0 {
				if b, err := w.Next(ctx); err != nil {
					return b, err
				}
			}
			return w.Next(ctx)
		}
	}
}

func repeatEvery(n int) func(store.Watcher) func(context.Context) (store.Batch, error) {
	return func(w store.Watcher) func(context.Context) (store.Batch, error) {
		i := 0
		var last store.Batch
		return func(ctx context.Context) (b store.Batch, err error) {
			if i++; i%n == 0 {
				return last, nil
			}
			last, err = w.Next(ctx)
			return last, err
		}
	}
}

func silent(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		for {
			if b, err := w.Next(ctx); err != nil || len(b.Events) > 0 {
				return b, err
			}
		}
	}
}

func progressAhead(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		b, err := w.Next(ctx)
		if len(b.Events) == 0 {
			b.Rev += 100
		}
		return b, err
	}
}

// eager takes the next batch, and then looks whether anybody still wants it.
func eager(w store.Watcher) func(context.Context) (store.Batch, error) {
	return func(ctx context.Context) (store.Batch, error) {
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Millisecond)
		defer cancel()
		if ctx.Err() == nil {
			return w.Next(ctx)
		}
		if _, err := w.Next(wait); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return store.Batch{}, err
		}
		return store.Batch{}, ctx.Err()
	}
}
