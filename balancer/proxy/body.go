package proxy

import (
	"errors"
	"io"
	"sync"
)

// maxReplay is how much of a request's body is kept so that it can be sent again.
const maxReplay = 64 << 10

var errBodyOver = errors.New("the request was given up")

// body is a request's body that may be sent more than once: what was read of
// it is kept, up to maxReplay, if keep was set.
type body struct {
	from io.Reader

	mu      sync.Mutex
	keep    bool   // all that was read is in kept
	kept    []byte // what was read
	taken   bool   // something was read
	reading bool   // a read of from is under way
	end     error  // of from: io.EOF, or what went wrong
}

// sent is one sending of a body, from its beginning.
type sent struct {
	body   *body
	at     int // in body.kept
	closed bool
}

// again reports whether the body can be sent from its beginning: nobody is
// reading it, it did not fail, and what was read was kept.
func (b *body) again() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.reading && (b.end == nil || b.end == io.EOF) && (b.keep || !b.taken)
}

// over reports whether there is nothing more to read from the client.
func (b *body) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end != nil
}

// failure is why the body could not be read from the client, or nil.
func (b *body) failure() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == io.EOF {
		return nil
	}
	return b.end
}

// Read reads what was kept, and then from the client.
func (s *sent) Read(p []byte) (int, error) {
	b := s.body
	b.mu.Lock()
	switch {
	case s.closed:
		b.mu.Unlock()
		return 0, errBodyOver
	case s.at < len(b.kept):
		defer b.mu.Unlock()
		n := copy(p, b.kept[s.at:])
		s.at += n
		return n, nil
	case b.end != nil:
		defer b.mu.Unlock()
		return 0, b.end
	}
	b.reading = true
	b.mu.Unlock()

	n, err := b.from.Read(p) // the lock is not held while the client is slow

	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.taken = b.taken || n > 0 || err != nil
	b.end = err
	if b.keep && len(b.kept)+n > maxReplay {
		b.keep, b.kept, s.at = false, nil, 0
	}
	if b.keep {
		b.kept = append(b.kept, p[:n]...)
		s.at += n
	}
	return n, err
}

// Close ends this sending. The client's body stays open: another one may follow.
func (s *sent) Close() error {
	s.body.mu.Lock()
	defer s.body.mu.Unlock()
	s.closed = true
	return nil
}
