package agent

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxLine is the longest line of a log, in bytes; longer ones are split.
const maxLine = 8 << 10

// readLines hands each line that r holds to add, without its end, as valid
// UTF-8, until r is at its end or fails. A last line without an end counts.
func readLines(r io.Reader, add func(line string)) {
	b := bufio.NewReaderSize(r, maxLine)
	var rest []byte // the beginning of a character that a split cut
	for {
		chunk, err := b.ReadSlice('\n')
		whole := append(rest, chunk...)
		rest = nil
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			cut := runeBoundary(whole)
			rest = bytes.Clone(whole[cut:])
			add(clean(whole[:cut]))
		case err == nil, len(whole) > 0:
			add(clean(bytes.TrimSuffix(bytes.TrimSuffix(whole, []byte("\n")), []byte("\r"))))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// runeBoundary returns how much of b does not end within a character.
func runeBoundary(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax+1); i-- {
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if utf8.FullRune(b[i:]) {
			break
		}
		return i
	}
	return len(b)
}

func clean(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
