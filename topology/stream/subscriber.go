package stream

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// subscriber is one stream: a cursor into a feed, without a queue of its own.
type subscriber struct {
	relay *relay
	feed  *feed
	next  uint64 // number of the first frame that was not sent
	out   *frameWriter
	sync  time.Duration
}

// run sends what comes until ctx ends, which is a success, or the reader
// fails. It says where it is at once: a reader that went on from another
// replica's revision learns whether it has everything.
func (s *subscriber) run(ctx context.Context) error {
	timer := time.NewTimer(spread(s.sync, rand.N))
	defer timer.Stop()
	for due := true; ; {
		b, err := s.relay.read(s.feed, s.next)
		if err != nil {
			return err
		}
		if b.lost {
			return s.out.end(frame{T: frameCompacted, Rev: b.rev})
		}
		for _, m := range b.messages {
			if err := s.out.message(m); err != nil {
				return err
			}
		}
		s.next += uint64(len(b.messages))
		if due && b.last {
			f := frame{T: frameSync, Rev: b.rev, Digest: b.digest.String(), N: b.digest.N()}
			if err := s.out.message(message{rev: b.rev, line: f.line()}); err != nil {
				return err
			}
			due = false
		}
		if err := s.out.flush(); err != nil {
			return err
		}
		if !b.last {
			continue
		}
		select {
		case <-b.wake:
		case <-timer.C:
			due = true
			timer.Reset(spread(s.sync, rand.N))
		case <-ctx.Done():
			return nil
		}
	}
}

// frameWriter writes frames to a reader that must take each within a timeout.
type frameWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	events  bool   // as server-sent events
	store   string // its id, for the ids of events
}

// newFrameWriter begins the answer.
func (s *Server) newFrameWriter(w http.ResponseWriter, r *http.Request) *frameWriter {
	out := &frameWriter{w: w, rc: http.NewResponseController(w), timeout: s.writeTimeout(), store: s.Store}
	out.events = accepts(r.Header.Values("Accept"), typeEvents)
	media := typeLines
	if out.events {
		media = typeEvents
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	return out
}

// message writes an encoded frame.
func (o *frameWriter) message(m message) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(o.timeout)); err != nil {
		return err
	}
	if o.events {
		return o.event(m)
	}
	_, err := o.w.Write(m.line)
	return err
}

// event writes a frame as a server-sent event. Its id is what a browser sends
// back when it connects again; a frame that is not a whole step has none.
func (o *frameWriter) event(m message) error {
	if m.rev > 0 {
		if _, err := fmt.Fprintf(o.w, "id: %s.%d\n", o.store, m.rev); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.w, "data: %s\n", m.line)
	return err
}

// snapshot writes the frames of a snapshot.
func (o *frameWriter) snapshot(s *snapshot) error {
	for body := s.body; len(body) > 0; {
		end := bytes.IndexByte(body, '\n') + 1
		m := message{line: body[:end]}
		if body = body[end:]; len(body) == 0 {
			m.rev = s.rev
		}
		if err := o.message(m); err != nil {
			return err
		}
	}
	return o.flush()
}

// end writes the last frame.
func (o *frameWriter) end(f frame) error {
	if err := o.message(message{line: f.line()}); err != nil {
		return err
	}
	return o.flush()
}

func (o *frameWriter) flush() error { return o.rc.Flush() }
