package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

const (
	maxBehind    = 20_000           // lines that wait for a follower
	followBeat   = 15 * time.Second // an empty line, so that both ends notice when the other is gone
	followWrites = 30 * time.Second // how long one write may take
)

// errBehind ends a follower that does not take lines as fast as they come.
var errBehind = errors.New("the lines come faster than they are read: ask again, for fewer of them")

// follower gets the lines of a cluster as they come.
type follower struct {
	mu     sync.Mutex
	lines  []LogLine
	behind bool
	bell   chan struct{} // of one
}

// add never waits.
func (f *follower) add(lines []LogLine) {
	f.mu.Lock()
	if len(f.lines)+len(lines) > maxBehind {
		f.behind, f.lines = true, nil
	}
	if !f.behind {
		f.lines = append(f.lines, lines...)
	}
	f.mu.Unlock()
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

func (f *follower) take() ([]LogLine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind {
		return nil, errBehind
	}
	lines := f.lines
	f.lines = nil
	return lines, nil
}

// Follow hands what [Logs.Tail] returns to add, and then what comes, without a
// gap, until ctx ends or add fails. It also calls add with nothing, now and then.
func (l *Logs) Follow(ctx context.Context, c topology.ClusterID, q LogQuery, add func([]LogLine) error) error {
	f := &follower{bell: make(chan struct{}, 1)}
	filter := q.filter()
	l.mu.Lock()
	lines, err := l.tail(c, filter)
	if err == nil {
		l.follow(c, f)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	defer l.unfollow(c, f)
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	for {
		if err := add(lines); err != nil {
			return err
		}
		lines = nil
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		case <-f.bell:
			fresh, err := f.take()
			if err != nil {
				return err
			}
			for _, line := range fresh {
				if filter.wants(&line) {
					lines = append(lines, line)
				}
			}
		}
	}
}

func (l *Logs) follow(c topology.ClusterID, f *follower) {
	if l.followers == nil {
		l.followers = map[topology.ClusterID]map[*follower]bool{}
	}
	if l.followers[c] == nil {
		l.followers[c] = map[*follower]bool{}
	}
	l.followers[c][f] = true
}

func (l *Logs) unfollow(c topology.ClusterID, f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.followers[c], f); len(l.followers[c]) == 0 {
		delete(l.followers, c)
	}
}

// logs answers with a list, or with a stream of lines of JSON if asked to follow.
func (s *Server) logs(stop context.Context) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		t, alias := tenant.ID(r.PathValue("tenant")), r.PathValue("alias")
		if err := errors.Join(tenant.CheckLabel("tenant", string(t)), tenant.CheckLabel("alias", alias)); err != nil {
			return err
		}
		q, err := parseLogQuery(r.URL.Query())
		if err != nil {
			return err
		}
		cluster := topology.SubscriptionCluster(topology.TenantID(t), alias)
		if r.URL.Query().Get("follow") != "" {
			s.whileGood(stop, r, func(stop context.Context) { s.streamLogs(stop, w, r, cluster, q) })
			return nil
		}
		lines, err := s.Logs.Tail(cluster, q)
		if err != nil {
			return err
		}
		s.reply(w, lines)
		return nil
	}
}

func (s *Server) streamLogs(stop context.Context, w http.ResponseWriter, r *http.Request, c topology.ClusterID, q LogQuery) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(stop, cancel)()
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	err := s.Logs.Follow(ctx, c, q, func(lines []LogLine) error {
		if err := out.SetWriteDeadline(time.Now().Add(followWrites)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		for _, line := range lines {
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
		if len(lines) == 0 {
			if _, err := w.Write([]byte{'\n'}); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	if errors.Is(err, errBehind) {
		err = enc.Encode(map[string]string{"error": err.Error()})
	}
	if err != nil {
		s.log().Debug("log stream", "cluster", c, "err", err)
	}
}
