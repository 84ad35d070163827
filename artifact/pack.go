package artifact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// Bounds of what is in a pack; bytes are not compressed ones. Objects that are
// stored as a difference from another one are put together in memory, each with
// the other one, and all are listed there.
const (
	maxObject   = 256 << 20 // bytes
	maxInflated = 8 << 30   // bytes of all objects
	maxObjects  = 5_000_000
)

// maxDeltaHead is how long the two sizes are that a difference begins with.
const maxDeltaHead = 2 * binary.MaxVarintLen64

// checkedPack passes a pack on, and looks into it at the same time: one that
// holds more than it may fails before its end, so that nothing is kept of it.
type checkedPack struct {
	r    io.Reader
	look *io.PipeWriter
	done chan struct{} // closed when err is set
	err  error
}

// checkPack begins to look. The caller calls close.
func checkPack(r io.Reader) *checkedPack {
	in, out := io.Pipe()
	c := &checkedPack{r: r, look: out, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = scanPack(in)
		in.CloseWithError(c.err)
	}()
	return c
}

// Read passes bytes on that were looked at, or will be before the end.
func (c *checkedPack) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		if _, werr := c.look.Write(p[:n]); werr != nil {
			return 0, werr // what was wrong with it
		}
	}
	if err == io.EOF {
		if cerr := c.close(); cerr != nil {
			return 0, cerr
		}
	}
	return n, err
}

// close waits for the end of looking, and returns what was found.
func (c *checkedPack) close() error {
	c.look.Close() // never fails
	<-c.done
	return c.err
}

// scanPack reads a pack to its end. An object may not hold more than its header
// says: the scanner sees to it.
func scanPack(r io.Reader) error {
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return err
	}
	if count > maxObjects {
		return fmt.Errorf("%w: the repository sends more than %d objects: make it smaller", ErrRelease, maxObjects)
	}
	left := int64(maxInflated)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return err
		}
		if err := fits(h.Length, &left); err != nil {
			return err
		}
		if !h.Type.IsDelta() {
			if _, _, err := s.NextObject(io.Discard); err != nil {
				return err
			}
			continue
		}
		var head deltaHead
		if _, _, err := s.NextObject(&head); err != nil {
			return err
		}
		size, err := head.size()
		if err != nil {
			return err
		}
		if err := fits(size, &left); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, r) // else who writes would wait
	return err
}

// deltaHead keeps the beginning of a difference.
type deltaHead struct {
	kept [maxDeltaHead]byte
	n    int
}

// Write keeps what has room, and forgets the rest.
func (d *deltaHead) Write(p []byte) (int, error) {
	d.n += copy(d.kept[d.n:], p)
	return len(p), nil
}

// size is how large the object is that the difference makes: the second of the
// two numbers that it begins with (git's gitformat-pack).
func (d *deltaHead) size() (int64, error) {
	_, used := binary.Uvarint(d.kept[:d.n])
	if used <= 0 {
		return 0, errBadDelta
	}
	size, more := binary.Uvarint(d.kept[used:d.n])
	if more <= 0 || size > 1<<62 {
		return 0, errBadDelta
	}
	return int64(size), nil
}

var errBadDelta = errors.New("a difference in the pack is not well-formed")

// fits takes an object's size off what is left, or refuses it.
func fits(size int64, left *int64) error {
	if size < 0 || size > maxObject {
		return fmt.Errorf("%w: a file in the repository's history has more than %d MiB: take it out of the history", ErrRelease, maxObject>>20)
	}
	if *left -= size; *left < 0 {
		return fmt.Errorf("%w: the repository has more than %d GiB when it is unpacked: make it smaller", ErrRelease, maxInflated>>30)
	}
	return nil
}
