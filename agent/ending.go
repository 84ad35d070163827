package agent

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gostratos/stratos/cartridge"
)

const (
	keptEnding  = 16 << 10 // bytes of what an action printed
	shownEnding = 2 << 10  // bytes of it in a message
	// minConfidential is how long a value of the environment must be to be
	// taken for a secret: "1" and "true" are none.
	minConfidential = 8
)

// ending keeps the end of what an action prints. The zero value is ready.
type ending struct {
	mu   sync.Mutex
	text []byte
	cut  bool // there was more
}

// Write never fails.
func (e *ending) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = append(e.text, b...)
	if over := len(e.text) - keptEnding; over > 0 {
		e.text, e.cut = append([]byte(nil), e.text[over:]...), true
	}
	return len(b), nil
}

// String is the end, at most shownEnding bytes, without the secrets.
func (e *ending) String(secrets []string) string {
	e.mu.Lock()
	text, cut := string(e.text), e.cut
	e.mu.Unlock()
	if cut { // what begins may be the rest of a secret
		longest := 0
		for _, s := range secrets {
			longest = max(longest, len(s))
		}
		text = text[min(len(text), longest):]
	}
	text = strings.TrimSpace(strings.ToValidUTF8(mask(text, secrets), "\uFFFD"))
	if over := len(text) - shownEnding; over > 0 {
		text = "... " + strings.ToValidUTF8(text[over:], "")
	}
	return text
}

// mask replaces secrets by ***.
func mask(text string, secrets []string) string {
	// Of two that begin at one place, the longer one counts.
	byLength := slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, s := range byLength {
		if s != "" {
			pairs = append(pairs, s, "***")
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// confidential is what no message about an action may hold.
func (r *running) confidential(b *cartridge.Binding) []string {
	all := slices.Collect(maps.Values(r.site.Secrets))
	if b != nil {
		all = append(all, b.Password)
	}
	for _, value := range r.site.env {
		if len(value) >= minConfidential {
			all = append(all, value)
		}
		if u, err := url.Parse(value); err == nil && u.User != nil {
			password, _ := u.User.Password()
			all = append(all, password)
		}
	}
	return all
}
