package main

import (
	"fmt"
	"io"
	"os"
)

// progress counts what is written to it, and tells somebody: at every percent
// on one line of a terminal, at every tenth percent on a line of its own elsewhere.
type progress struct {
	to          io.Writer
	total, done int64
	step, told  int64 // in percent
	terminal    bool
}

func newProgress(to io.Writer, total int64) *progress {
	p := &progress{to: to, total: total, step: 10, terminal: isTerminal(to)}
	if p.terminal {
		p.step = 1
	}
	return p
}

// Write implements [io.Writer]. What cannot be told is no error of what is counted.
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	percent := int64(100)
	if p.total > 0 {
		percent = p.done * 100 / p.total
	}
	if percent < p.told+p.step {
		return len(b), nil
	}
	p.told = percent - percent%p.step
	text := fmt.Sprintf("%3d %% of %s", percent, inBytes(p.total))
	if p.terminal {
		text = "\r" + text
	} else {
		text += "\n"
	}
	_, _ = io.WriteString(p.to, text)
	return len(b), nil
}

// end leaves the line on a terminal.
func (p *progress) end() {
	if p.terminal && p.told > 0 {
		_, _ = io.WriteString(p.to, "\n")
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// inBytes writes a size for people.
func inBytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	size, names := float64(n)/unit, []string{"kB", "MB", "GB", "TB"}
	for size >= unit && len(names) > 1 {
		size, names = size/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %s", size, names[0])
}
