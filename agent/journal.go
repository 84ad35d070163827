package agent

import (
	"sync"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// Bounds of a journal: beyond them, the oldest lines are dropped.
const (
	maxJournalLines = 10_000
	maxJournalBytes = 16 << 20
)

// journal holds the last lines that the runtimes printed, numbered. Whoever
// adds never waits: a slow disk or an absent control plane costs old lines,
// never a runtime's time. Each reader has a place of its own.
type journal struct {
	mu    sync.Mutex
	lines []wire.LogLine
	first uint64 // the number of lines[0]
	bytes int

	bells []chan struct{} // rung at every line
}

// newJournal makes a journal whose first line gets the number first. It rings
// the bells, which hold one ring each, at every line.
func newJournal(first uint64, bells ...chan struct{}) *journal {
	return &journal{first: first, bells: bells}
}

// Add appends a line that a process, or the agent itself, printed.
func (j *journal) Add(source, text string) {
	line := wire.LogLine{At: time.Now().UTC(), Source: source, Text: text}
	j.mu.Lock()
	j.lines = append(j.lines, line)
	j.bytes += len(text)
	for len(j.lines) > maxJournalLines || j.bytes > maxJournalBytes {
		j.bytes -= len(j.lines[0].Text)
		j.lines[0] = wire.LogLine{} // let the text go, the array stays
		j.lines, j.first = j.lines[1:], j.first+1
	}
	j.mu.Unlock()
	for _, bell := range j.bells {
		wake(bell)
	}
}

// Next is the number that the next line gets.
func (j *journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first + uint64(len(j.lines))
}

// From returns the lines from number n on, at most count of them and not much
// more than size bytes, and the number of the first: above n if lines were dropped.
func (j *journal) From(n uint64, count, size int) (first uint64, lines []wire.LogLine) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = max(n, j.first)
	skip := first - j.first
	if skip >= uint64(len(j.lines)) {
		return first, nil
	}
	for _, line := range j.lines[skip:] {
		if len(lines) == count || size <= 0 {
			break
		}
		size -= len(line.Text)
		lines = append(lines, line)
	}
	return first, lines
}

// tail keeps the end of what one release printed.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const maxTail = 8 << 10 // bytes

// Add appends a line.
func (t *tail) Add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(append(t.text, line...), '\n')
	if len(t.text) > 2*maxTail { // cut seldom
		t.text = append([]byte(nil), t.text[len(t.text)-maxTail:]...)
	}
}

// String returns the end of what was added, whole characters, at most maxTail bytes.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.text
	if len(text) > maxTail {
		text = text[len(text)-maxTail:]
		for len(text) > 0 && text[0]&0xC0 == 0x80 { // the rest of a character
			text = text[1:]
		}
	}
	return string(text)
}
