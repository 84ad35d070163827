package api

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gostratos/stratos/topology"
)

// Bounds of how many lines are answered at once.
const (
	defaultLines = 100
	maxLines     = 10_000
)

// LogQuery says which lines of a log are wanted. The zero LogQuery wants the
// last hundred.
type LogQuery struct {
	Lines        int       // at most so many, the last ones. Default 100
	Since, Until time.Time // from Since on, and before Until. Default: any time
	// Level is the least bad one that is wanted. A line that names none is
	// "info", or, if it is indented, as bad as the one that it continues.
	Level  Level
	Text   string // what is in the line, in any case of letters
	Member topology.MemberID
}

// parseLogQuery reads a query of the API.
func parseLogQuery(v url.Values) (q LogQuery, err error) {
	bad := func(name, want string) error {
		return fmt.Errorf("%w: %s is %q, want %s", errBadRequest, name, v.Get(name), want)
	}
	if s := v.Get("lines"); s != "" {
		if q.Lines, err = strconv.Atoi(s); err != nil || q.Lines < 1 || q.Lines > maxLines {
			return q, bad("lines", fmt.Sprint("1 to ", maxLines))
		}
	}
	for name, at := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if s := v.Get(name); s != "" {
			if *at, err = time.Parse(time.RFC3339Nano, s); err != nil {
				return q, bad(name, "a time like 2026-11-24T03:57:07Z")
			}
		}
	}
	if s := v.Get("level"); s != "" {
		if q.Level, err = ParseLevel(s); err != nil {
			return q, fmt.Errorf("%w: %w", errBadRequest, err)
		}
	}
	q.Text, q.Member = v.Get("text"), topology.MemberID(v.Get("member"))
	return q, nil
}

// logFilter decides about lines, which are shown to it in their order.
type logFilter struct {
	LogQuery
	text   string // in small letters
	before map[string]Level
}

func (q LogQuery) filter() *logFilter {
	q.Lines = cmp.Or(q.Lines, defaultLines)
	return &logFilter{LogQuery: q, text: strings.ToLower(q.Text), before: map[string]Level{}}
}

// wants reports whether a line is wanted, and fills in its level.
func (f *logFilter) wants(line *LogLine) bool {
	from := string(line.Member) + "/" + line.Source
	level, named := levelOf(line.Text)
	if was, ok := f.before[from]; ok && !named && strings.IndexAny(line.Text, " \t") == 0 {
		level = was
	}
	f.before[from], line.Level = level, level
	switch {
	case f.Member != "" && line.Member != f.Member,
		!f.Since.IsZero() && line.At.Before(f.Since),
		!f.Until.IsZero() && !line.At.Before(f.Until),
		f.LogQuery.Level != "" && !level.atLeast(f.LogQuery.Level),
		f.text != "" && !strings.Contains(strings.ToLower(line.Text), f.text):
		return false
	}
	return true
}
