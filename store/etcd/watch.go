package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gostratos/stratos/store"
)

const (
	// progressEvery leaves a margin, so that a lost answer still keeps [store.ProgressEvery].
	progressEvery = store.ProgressEvery / 3
	reopenPause   = 200 * time.Millisecond
)

// errBehind: the reader has to catch up; errLost: it never will.
var (
	errBehind = errors.New("the reader is behind")
	errLost   = errors.New("the history goes on without the reader")
)

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, after store.Revision) (store.Watcher, error) {
	if after < 0 {
		return nil, fmt.Errorf("%w: watch after revision %d", store.ErrInvalid, after)
	}
	_, err := s.read(ctx, "the start of a watch", clientv3.OpGet(s.idKey, clientv3.WithCountOnly(), clientv3.WithRev(int64(max(after, 1)))))
	if isAny(err, rpctypes.ErrCompacted) {
		return nil, s.compacted(ctx, after)
	}
	if err != nil {
		return nil, err
	}
	w := newWatcher(after)
	var pumping context.Context
	pumping, w.cancel = context.WithCancel(s.ctx)
	p := &pump{store: s, key: s.key(prefix), watcher: w, cursor: after}
	if !s.start(func() { p.run(pumping) }) {
		return nil, store.ErrClosed
	}
	return w, nil
}

// pump moves what etcd tells into a watcher's queue. Each has an etcd stream
// of its own: a slow one delays no other, nor the progress of any other.
type pump struct {
	store   *Store
	key     string // of the prefix
	watcher *watcher
	cursor  store.Revision // everything up to here is in the queue
	from    store.Revision // where the current stream began
}

// run ends with ctx, or when the reader has lost its place.
func (p *pump) run(ctx context.Context) {
	defer p.watcher.finish(store.ErrClosed)
	for {
		err := p.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errBehind):
			if !p.watcher.awaitRoom(ctx) {
				return
			}
		case errors.Is(err, errLost), isAny(err, rpctypes.ErrCompacted):
			p.watcher.finish(&store.SlowError{})
			return
		default:
			p.store.log.Warn("etcd: a watch was interrupted, and goes on", "after", int64(p.cursor), "error", err)
			timer := time.NewTimer(reopenPause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// follow reads one stream. It begins with the cursor itself, whose events are
// known: so a cursor that was compacted is noticed.
func (p *pump) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	stream := clientv3.NewWatcher(p.store.client)
	defer stream.Close()
	p.from = max(p.cursor, 1)
	responses := stream.Watch(ctx, p.key, clientv3.WithRange(clientv3.GetPrefixRangeEnd(p.key)),
		clientv3.WithRev(int64(p.from)), clientv3.WithProgressNotify())
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case resp, ok := <-responses:
			if !ok {
				return errors.New("the stream has ended")
			}
			if err := p.take(resp); err != nil {
				return err
			}
		case <-tick.C:
			// While the client connects again it takes no requests: the next tick tries again.
			asking, cancel := context.WithTimeout(ctx, time.Second)
			err := stream.RequestProgress(asking)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
	}
}

// take queues what one response says.
func (p *pump) take(resp clientv3.WatchResponse) error {
	if err := resp.Err(); err != nil {
		return err
	}
	if resp.IsProgressNotify() {
		p.cursor = max(p.cursor, store.Revision(resp.Header.Revision))
		p.watcher.mark(p.cursor)
		return nil
	}
	batches, err := p.batches(resp.Events)
	if err != nil {
		return err
	}
	if len(batches) > 0 {
		p.cursor = batches[len(batches)-1].Rev
	}
	if p.watcher.push(batches) {
		return nil
	}
	return errBehind
}

// batches gathers the events of each revision. etcd sends a revision in one
// response, in order; if it ever did not, the reader would have to begin anew.
func (p *pump) batches(events []*clientv3.Event) ([]store.Batch, error) {
	var all []store.Batch
	for _, e := range events {
		rev := store.Revision(e.Kv.ModRevision)
		if rev <= p.from && rev <= p.cursor {
			continue
		}
		if n := len(all); n == 0 || all[n-1].Rev != rev {
			if rev <= p.cursor || n > 0 && rev < all[n-1].Rev {
				return nil, fmt.Errorf("%w: revision %d came twice", errLost, rev)
			}
			all = append(all, store.Batch{Rev: rev})
		}
		b := &all[len(all)-1]
		b.Events = append(b.Events, p.event(e))
	}
	return all, nil
}

func (p *pump) event(e *clientv3.Event) store.Event {
	kv := p.store.kv(e.Kv)
	if e.Type == clientv3.EventTypeDelete {
		return store.Event{KV: store.KV{Key: kv.Key, Mod: kv.Mod}, Deleted: true}
	}
	return store.Event{KV: kv}
}
