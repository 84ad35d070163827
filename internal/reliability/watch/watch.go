// Package watch counts breaches of the promise of [store.Store.Watch]: every
// transaction after the start, whole, in order, once, over many reconnects and
// with compaction in between.
package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/gostratos/stratos/store"
)

// Defaults.
const (
	defaultEvents   = 1_000_000
	defaultWriters  = 8
	defaultWatchers = 3
	reconnectEvery  = 500  // batches, at most
	compactEvery    = 2000 // transactions
	keep            = 1000 // revisions that a compaction leaves
	keysPerWriter   = 50
	maxKeys         = 6 // of one transaction
)

// Options are optional but for Store.
type Options struct {
	Store store.Store // fresh
	// Events is how many each watcher must account for, at least. Default: 1 000 000.
	Events int
	// Writers and Watchers: defaults 8 and 3.
	Writers, Watchers int
	Seed              uint64
}

// Result counts what the watchers saw; all but the first five must be 0.
type Result struct {
	Transactions, Events int // written
	Seen                 int // events, by all watchers
	Reconnects, Relists  int // a relist comes after a compaction

	Gaps       int // transactions that a watcher missed
	Duplicates int // transactions that it saw twice
	Reorders   int // transactions that it saw after a later one
	Splits     int // transactions that it saw in parts
	Wrong      int // events that were never written
	Lost       int // records that differ from the store in the end, after relists
}

// Run writes and watches, and compares the two.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Events == 0 {
		o.Events = defaultEvents
	}
	if o.Writers == 0 {
		o.Writers = defaultWriters
	}
	if o.Watchers == 0 {
		o.Watchers = defaultWatchers
	}
	page, err := o.Store.List(ctx, "", store.ReadOptions{})
	if err != nil {
		return Result{}, err
	}
	r := &run{Options: o, start: page.Rev, written: make(map[store.Revision]int), end: make(chan struct{})}
	watchers := make([]*watcher, o.Watchers)
	following, fctx := errgroup.WithContext(ctx)
	for i := range watchers {
		watchers[i] = &watcher{
			run: r, random: rand.New(rand.NewPCG(o.Seed, uint64(1000+i))), last: r.start,
			seen: make(map[store.Revision]int), records: make(map[string]store.KV),
		}
		following.Go(func() error { return watchers[i].follow(fctx) })
	}
	writing, wctx := errgroup.WithContext(fctx)
	for i := range o.Writers {
		writing.Go(func() error { return r.write(wctx, i) })
	}
	err = writing.Wait()
	if err == nil {
		r.last, err = o.Store.Commit(ctx, store.Txn{Then: []store.Op{{Key: "w/end"}}})
		r.note(r.last, 1)
		close(r.end)
	}
	if err := errors.Join(err, following.Wait()); err != nil {
		return Result{}, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	return r.result(ctx, watchers)
}

// run is what the writers and the watchers share.
type run struct {
	Options
	start  store.Revision
	events atomic.Int64
	last   store.Revision // set before end is closed
	end    chan struct{}

	mu      sync.Mutex
	written map[store.Revision]int // the number of events of each transaction
}

// note takes down a transaction, and returns how many there are.
func (r *run) note(rev store.Revision, events int) int {
	r.events.Add(int64(events))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written[rev] = events
	return len(r.written)
}

// write commits transactions of several keys, and compacts now and then.
func (r *run) write(ctx context.Context, writer int) error {
	random := rand.New(rand.NewPCG(r.Seed, uint64(writer)))
	there := make(map[int]bool)
	for n := 0; r.events.Load() < int64(r.Events); n++ {
		var ops []store.Op
		for _, k := range random.Perm(keysPerWriter)[:1+random.IntN(maxKeys)] {
			op := store.Op{Key: fmt.Sprintf("w/%d/%d", writer, k), Value: []byte(strconv.Itoa(n))}
			if there[k] && random.IntN(4) == 0 {
				op.Value, op.Delete = nil, true
			}
			there[k] = !op.Delete
			ops = append(ops, op)
		}
		rev, err := r.Store.Commit(ctx, store.Txn{Then: ops})
		if err != nil {
			return err
		}
		if r.note(rev, len(ops))%compactEvery == 0 && rev > r.start+keep {
			if err := r.Store.Compact(ctx, rev-keep); err != nil {
				return err
			}
		}
	}
	return nil
}

// result compares what was written with what each watcher saw.
func (r *run) result(ctx context.Context, watchers []*watcher) (Result, error) {
	res := Result{Transactions: len(r.written), Events: int(r.events.Load())}
	page, err := r.Store.List(ctx, "w/", store.ReadOptions{})
	if err != nil {
		return res, err
	}
	for _, w := range watchers {
		res.Seen += w.events
		res.Reconnects += w.reconnects
		res.Relists += len(w.jumps)
		res.Duplicates += w.duplicates
		res.Reorders += w.reorders
		for rev, n := range r.written {
			switch seen, ok := w.seen[rev]; {
			case !ok && !w.jumped(rev):
				res.Gaps++
			case ok && seen < n:
				res.Splits++
			case ok && seen > n:
				res.Wrong++
			}
		}
		for rev := range w.seen {
			if _, ok := r.written[rev]; !ok {
				res.Wrong++
			}
		}
		res.Lost += w.differs(page.KVs)
	}
	return res, nil
}
