package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// A batch of lines is posted when it is so old, or so many. The bytes keep the
// request below [wire.MaxBody], however JSON escapes them.
const (
	batchAge   = time.Second
	batchLines = 256
	batchBytes = 96 << 10

	// numbersAhead is how many lines' numbers are reserved on disk at once.
	numbersAhead = 100_000
	// lastPost is how long the agent tries to get its last lines out.
	lastPost = 2 * time.Second
)

// shipper posts a journal to the control plane.
//
// Numbers of lines grow over restarts of the agent: a number above all that
// were sent is on disk before a batch is, so an agent that was killed goes on
// above it.
type shipper struct {
	control *control
	journal *journal
	bell    chan struct{}
	path    string // of the number up to which lines may be numbered
	log     *slog.Logger
	gone    func()

	next     uint64 // the first line that is not posted yet
	reserved uint64 // what is at path
}

// openNumbers returns the number that the first line may have.
func openNumbers(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("the number of log lines: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the number of log lines in %s is damaged: write a larger one than was ever sent into it", path)
	}
	return n, nil
}

// Run posts until ctx ends, and then, for a moment, what is left.
func (s *shipper) Run(ctx context.Context) {
	for s.wait(ctx) && s.post(ctx) {
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPost)
	defer cancel()
	for s.journal.Next() > s.next && s.once(last) == nil {
	}
	if err := s.reserve(s.journal.Next()); err != nil {
		s.log.Error("saving the number of log lines", "err", err)
	}
}

// wait waits for a batch, and reports whether ctx is still alive.
func (s *shipper) wait(ctx context.Context) bool {
	for s.journal.Next() == s.next {
		select {
		case <-s.bell:
		case <-ctx.Done():
			return false
		}
	}
	full := time.NewTimer(batchAge)
	defer full.Stop()
	for s.journal.Next()-s.next < batchLines {
		select {
		case <-s.bell:
		case <-full.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// post posts one batch, until it is taken, and reports whether to go on.
func (s *shipper) post(ctx context.Context) bool {
	wait := backoff{First: time.Second, Max: 30 * time.Second}
	for {
		err := s.once(ctx)
		switch {
		case err == nil:
			return true
		case answered(err, http.StatusGone):
			s.gone()
			return false
		}
		s.log.Debug("posting log lines, trying again", "err", err)
		if !wait.Pause(ctx) {
			return false
		}
	}
}

// once posts one batch of what is there.
func (s *shipper) once(ctx context.Context) error {
	first, lines := s.journal.From(s.next, batchLines, batchBytes)
	if len(lines) == 0 {
		return nil
	}
	next := first + uint64(len(lines))
	if next > s.reserved {
		if err := s.reserve(next + numbersAhead); err != nil {
			return err
		}
	}
	err := s.control.call(ctx, s.control.http, http.MethodPost, wire.LogsPath, wire.Logs{From: first, Lines: lines}, nil)
	if answered(err, http.StatusBadRequest, http.StatusRequestEntityTooLarge) {
		s.log.Error("the control plane does not take these log lines, they are dropped", "from", first, "lines", len(lines), "err", err)
		err = nil // what follows must not wait behind them for ever
	}
	if err == nil {
		s.next = next
	}
	return err
}

func (s *shipper) reserve(n uint64) error {
	if err := writeDurably(s.path, []byte(strconv.FormatUint(n, 10)+"\n")); err != nil {
		return err
	}
	s.reserved = n
	return nil
}
