package artifact

import (
	"encoding/json"
	"strings"
	"sync"
	"unicode"
)

const (
	// maxLog is how much of a build's output is recorded, bytes.
	maxLog = 64 << 10
	// maxLogJSON is how much it may take in the record: characters that JSON
	// escapes take up to six times as much.
	maxLogJSON = 160 << 10
)

// tail keeps the end of what is written to it. It may be used concurrently.
type tail struct {
	mu  sync.Mutex
	end []byte
	cut bool
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if len(t.end) > 2*maxLog { // not at every write
		t.shorten()
	}
	return len(p), nil
}

// shorten keeps what is at most recorded; mu is held.
func (t *tail) shorten() {
	if over := len(t.end) - maxLog; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
		t.cut = true
	}
}

// text returns the end: valid UTF-8 without control characters, beginning with
// a whole line if something is missing before it.
func (t *tail) text() string {
	t.mu.Lock()
	t.shorten()
	s, cut := string(t.end), t.cut
	t.mu.Unlock()

	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for {
		b, err := json.Marshal(s)
		if err != nil || len(b) <= maxLogJSON { // strings can always be marshalled
			break
		}
		s, cut = strings.ToValidUTF8(s[len(s)/4:], ""), true
	}
	if _, rest, ok := strings.Cut(s, "\n"); cut && ok {
		return rest
	}
	return s
}
