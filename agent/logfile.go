package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// maxLogFile is the size at which the log begins a new file; the former one is
// kept beside it. 4 MiB.
const maxLogFile = 4 << 20

// logFile writes a journal to a file, for people on the instance.
type logFile struct {
	path    string // path + ".1" is the former file
	max     int64  // default maxLogFile
	journal *journal
	bell    chan struct{}
	log     *slog.Logger

	f    *os.File
	size int64
	next uint64 // the first line that is not written yet
}

// Run writes until ctx ends, and then what is left. A disk that does not take
// the lines costs lines, and nothing else.
func (l *logFile) Run(ctx context.Context) {
	wait := backoff{First: time.Second, Max: 30 * time.Second}
	for alive := true; alive; {
		select {
		case <-l.bell:
		case <-ctx.Done():
			alive = false
		}
		if err := l.drain(); err != nil {
			l.log.Error("writing the log, lines may be missing in it", "err", err)
			alive = wait.Pause(ctx) && alive
			wake(l.bell)
			continue
		}
		wait.Reset()
	}
	if err := l.close(); err != nil {
		l.log.Error("closing the log", "err", err)
	}
}

// drain writes everything that is in the journal.
func (l *logFile) drain() error {
	for {
		first, lines := l.journal.From(l.next, 1000, 1<<20)
		if len(lines) == 0 {
			return nil
		}
		if err := l.write(first, lines); err != nil {
			return err
		}
		l.next = first + uint64(len(lines))
	}
}

func (l *logFile) write(first uint64, lines []wire.LogLine) error {
	var text []byte
	if lost := first - l.next; lost > 0 {
		text = fmt.Appendf(text, "%s agent %d lines are missing here: they came faster than the disk takes them\n",
			lines[0].At.Format(time.RFC3339Nano), lost)
	}
	for _, line := range lines {
		text = fmt.Appendf(text, "%s %s %s\n", line.At.Format("2006-01-02T15:04:05.000Z07:00"), line.Source, line.Text)
	}
	if err := l.open(); err != nil {
		return err
	}
	n, err := l.f.Write(text)
	l.size += int64(n)
	return err
}

// open makes sure that there is a file with room.
func (l *logFile) open() error {
	limit := l.max
	if limit <= 0 {
		limit = maxLogFile
	}
	if err := l.append(); err != nil {
		return err
	}
	if l.size < limit {
		return nil
	}
	if err := l.rotate(); err != nil {
		return err
	}
	return l.append()
}

// append opens the file, unless it is open.
func (l *logFile) append() error {
	if l.f != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, size
	return nil
}

func (l *logFile) rotate() error {
	if err := l.close(); err != nil {
		return err
	}
	err := os.Rename(l.path, l.path+".1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody took it away: begin anew
	}
	return err
}

func (l *logFile) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
