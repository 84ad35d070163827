package watch

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/gostratos/stratos/store"
)

// watcher follows the store and takes down what it saw.
type watcher struct {
	run    *run
	random *rand.Rand

	last    store.Revision
	seen    map[store.Revision]int // events of each transaction
	records map[string]store.KV
	jumps   [][2]store.Revision // what a list stood for: after the first, up to the second

	events, reconnects, duplicates, reorders int
}

// follow watches, again and again, until it has seen the last transaction. Now
// and then it is away for a while, so that its place may be compacted.
func (w *watcher) follow(ctx context.Context) error {
	for {
		err := w.once(ctx)
		var compacted *store.CompactedError
		var slow *store.SlowError
		switch {
		case errors.As(err, &compacted), errors.As(err, &slow):
			err = w.relist(ctx)
		case err == nil && w.ended():
			return nil
		}
		if err != nil {
			return err
		}
		if w.random.IntN(10) == 0 {
			if err := w.stayAway(ctx); err != nil {
				return err
			}
		}
		w.reconnects++
	}
}

func (w *watcher) ended() bool {
	select {
	case <-w.run.end:
		return w.last >= w.run.last
	default:
		return false
	}
}

// once watches for a random number of batches.
func (w *watcher) once(ctx context.Context) error {
	stream, err := w.run.Store.Watch(ctx, "w/", w.last)
	if err != nil {
		return err
	}
	defer stream.Close()
	for range 1 + w.random.IntN(reconnectEvery) {
		if w.ended() {
			return nil
		}
		b, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		w.take(b)
	}
	return nil
}

func (w *watcher) take(b store.Batch) {
	if len(b.Events) == 0 {
		if b.Rev < w.last {
			w.reorders++
		}
		w.last = max(w.last, b.Rev)
		return
	}
	if _, twice := w.seen[b.Rev]; twice {
		w.duplicates++
	} else {
		w.seen[b.Rev] = len(b.Events)
	}
	if b.Rev < w.last {
		w.reorders++
	}
	w.last = max(w.last, b.Rev)
	w.events += len(b.Events)
	for _, e := range b.Events {
		if e.Deleted {
			delete(w.records, e.Key)
		} else {
			w.records[e.Key] = e.KV
		}
	}
}

// relist begins anew after the watcher's place was compacted away.
func (w *watcher) relist(ctx context.Context) error {
	page, err := w.run.Store.List(ctx, "w/", store.ReadOptions{})
	if err != nil {
		return err
	}
	clear(w.records)
	for _, kv := range page.KVs {
		w.records[kv.Key] = kv
	}
	w.jumps = append(w.jumps, [2]store.Revision{w.last, page.Rev})
	w.last = page.Rev
	return nil
}

// stayAway waits until more was written than a compaction leaves, or until
// nothing more is written.
func (w *watcher) stayAway(ctx context.Context) error {
	aside, err := w.run.Store.Watch(ctx, "w/", w.last)
	if err != nil {
		var compacted *store.CompactedError
		if errors.As(err, &compacted) {
			return nil
		}
		return err
	}
	defer aside.Close()
	for until := w.last + keep + compactEvery; ; {
		select {
		case <-w.run.end:
			return nil
		default:
		}
		b, err := aside.Next(ctx)
		var slow *store.SlowError
		if errors.As(err, &slow) {
			return nil
		}
		if err != nil {
			return err
		}
		if b.Rev >= until {
			return nil
		}
	}
}

// jumped says whether a list stood for rev.
func (w *watcher) jumped(rev store.Revision) bool {
	for _, j := range w.jumps {
		if rev > j[0] && rev <= j[1] {
			return true
		}
	}
	return false
}

// differs counts the records that the watcher does not have as the store has them.
func (w *watcher) differs(kvs []store.KV) int {
	n, same := 0, 0
	for _, kv := range kvs {
		if mine := w.records[kv.Key]; mine.Mod == kv.Mod && mine.Create == kv.Create && string(mine.Value) == string(kv.Value) {
			same++
		} else {
			n++
		}
	}
	return max(n, len(w.records)-same)
}
