package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
	"github.com/gostratos/stratos/topology/stream"
)

// news is what the topology says of the member, and of its cluster.
type news struct {
	member topology.Member
	// bindings names the list of who may connect, job what is to be done once.
	bindings, job string
}

// watcher follows the member's record in the topology.
type watcher struct {
	source  topology.Source
	cluster topology.ClusterID
	member  topology.MemberID
	log     *slog.Logger
}

// Run hands each new state of the record to records, until ctx ends. A state
// that nobody took yet is replaced by the next one.
func (w *watcher) Run(ctx context.Context, records chan news) {
	var after, mod, clusterMod store.Revision
	wait := backoff{First: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		v, err := w.source.Next(ctx, after)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Warn("following the topology, trying again", "err", err)
			if !wait.Pause(ctx) {
				return
			}
			continue
		}
		wait.Reset()
		after = v.Rev
		c := v.Cluster(w.cluster)
		if c == nil {
			continue // a topology without us is no word to stop
		}
		if m, ok := c.Member(w.member); ok && (m.Mod != mod || c.Mod() != clusterMod) {
			mod, clusterMod = m.Mod, c.Mod()
			replace(records, news{member: m.Member, bindings: c.Cluster.Bindings, job: c.Cluster.Job})
		}
	}
}

// replace puts v into a channel of one, in the place of what is there. There
// must be no other sender.
func replace[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// assigner asks the control plane for the assignment. What the topology says is
// a hint that it is another one; the answer is the truth.
type assigner struct {
	control *control
	log     *slog.Logger
	gone    func()
}

// Run asks for each hint until the answer is what the hint says, or another
// hint comes, and hands the answers to answers. The empty release is the hint
// that there is nothing to ask for.
func (a *assigner) Run(ctx context.Context, hints <-chan wire.ReleaseRef, answers chan<- wire.Assignment) {
	var hint wire.ReleaseRef
	for {
		select {
		case hint = <-hints:
		case <-ctx.Done():
			return
		}
		wait := backoff{First: 50 * time.Millisecond, Max: 30 * time.Second}
		for hint != (wire.ReleaseRef{}) {
			answer, err := a.ask(ctx)
			if answered(err, http.StatusGone) {
				a.gone()
				return
			}
			if err == nil {
				select {
				case answers <- answer:
				case <-ctx.Done():
					return
				}
				if answer.Release() == hint {
					break
				}
			}
			var alive bool
			if hint, alive = a.pause(ctx, &wait, hint, hints); !alive {
				return
			}
		}
	}
}

// pause waits before the next question; a new hint cuts it short.
func (a *assigner) pause(ctx context.Context, wait *backoff, hint wire.ReleaseRef, hints <-chan wire.ReleaseRef) (wire.ReleaseRef, bool) {
	select {
	case hint = <-hints:
		return hint, true
	case <-time.After(wait.Next()):
		return hint, true
	case <-ctx.Done():
		return hint, false
	}
}

func (a *assigner) ask(ctx context.Context) (wire.Assignment, error) {
	var out wire.Assignment
	err := a.control.call(ctx, a.control.http, http.MethodGet, wire.AssignmentPath, nil, &out)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("asking for the assignment, trying again", "err", err)
	}
	return out, err
}

// follow runs a stream of the topology until ctx ends.
func follow(ctx context.Context, c *stream.Client, gone func(), log *slog.Logger) {
	err := c.Run(ctx)
	switch {
	case errors.Is(err, stream.ErrGone):
		gone()
	case err != nil && ctx.Err() == nil:
		log.Error("following the topology", "err", err)
	}
}
