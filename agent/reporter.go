package agent

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// defaultHeartbeat is the pause between two statuses if nothing changes, when
// the control plane names none.
const defaultHeartbeat = 15 * time.Second

// lastReport is how long the agent tries to say that it stops.
const lastReport = 2 * time.Second

// reporter tells the control plane how things are: at every change, and every
// heartbeat. A status is the whole state, so changes that come faster than it
// is sent travel together, and one that was lost is made up for by the next.
type reporter struct {
	control *control
	groups  *groups
	log     *slog.Logger
	gone    func() // the control plane says that the member is terminated
	bell    chan struct{}

	mu        sync.Mutex
	status    wire.Status // without what is measured when it is sent
	heartbeat time.Duration

	seq uint64 // of the run loop
}

// Set says how things are now.
func (r *reporter) Set(s wire.Status) {
	r.mu.Lock()
	same := reflect.DeepEqual(r.status, s)
	r.status = s
	r.mu.Unlock()
	if !same {
		wake(r.bell)
	}
}

// SetHeartbeat says how often to report; 0 is the default.
func (r *reporter) SetHeartbeat(d time.Duration) {
	if d <= 0 {
		d = defaultHeartbeat
	}
	r.mu.Lock()
	same := r.heartbeat == d
	r.heartbeat = d
	r.mu.Unlock()
	if !same {
		wake(r.bell)
	}
}

// Run reports until ctx ends, and then once more if the last change was not
// heard yet.
func (r *reporter) Run(ctx context.Context) {
	wait := backoff{First: 200 * time.Millisecond, Max: 15 * time.Second}
	for r.await(ctx) {
		for {
			err := r.send(ctx)
			if err == nil {
				wait.Reset()
				break
			}
			if answered(err, http.StatusGone) {
				r.gone()
				return
			}
			if ctx.Err() == nil {
				r.log.Warn("reporting to the control plane, trying again", "err", err)
			}
			select { // a change is not kept waiting
			case <-r.bell:
			case <-time.After(wait.Next()):
			case <-ctx.Done():
				r.last(ctx)
				return
			}
		}
	}
	select {
	case <-r.bell:
		r.last(ctx)
	default:
	}
}

// last reports once more, although ctx has ended.
func (r *reporter) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReport)
	defer cancel()
	if err := r.send(ctx); err != nil {
		r.log.Warn("the last report did not reach the control plane", "err", err)
	}
}

// await waits for a change or a heartbeat, and reports whether ctx is alive.
func (r *reporter) await(ctx context.Context) bool {
	r.mu.Lock()
	beat := r.heartbeat
	r.mu.Unlock()
	t := time.NewTimer(beat)
	defer t.Stop()
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-r.bell:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

func (r *reporter) send(ctx context.Context) error {
	r.mu.Lock()
	s := r.status
	r.mu.Unlock()
	s.Seq = r.nextSeq()
	s.Load, s.Memory = loadAverage(), r.groups.memory()
	return r.control.call(ctx, r.control.http, http.MethodPost, wire.StatusPath, s, nil)
}

// nextSeq grows also over restarts of the agent, as long as the clock does not
// go back while it is away.
func (r *reporter) nextSeq() uint64 {
	r.seq = max(r.seq+1, uint64(r.control.clock.Now().UnixNano()))
	return r.seq
}
