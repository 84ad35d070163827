package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Level is how bad a line of a log is.
type Level string

// The levels, from the least to the worst.
const (
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

var levels = []Level{LevelDebug, LevelInfo, LevelWarn, LevelError}

// ParseLevel reads the name of a level.
func ParseLevel(s string) (Level, error) {
	if l := Level(s); slices.Contains(levels, l) {
		return l, nil
	}
	return "", fmt.Errorf("level is %q, want debug, info, warn or error", s)
}

// atLeast reports whether a line of this level is as bad as the other.
func (l Level) atLeast(other Level) bool {
	return slices.Index(levels, l) >= slices.Index(levels, other)
}

// words are how programs call the levels.
const words = `(trace|debug|fine|finer|finest|info|note|notice|warn|warning|err|error|severe|fatal|crit|critical|alert|emerg|panic|exception)`

// Where a level is named: as a field of its own, between brackets, in capitals
// at the beginning of the line or after a time, or in the languages' own words.
var levelForms = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\b(?:level|severity|lvl)"?\s*[=:]\s*"?` + words + `\b`),
	regexp.MustCompile(`(?i)\[(?:[\w.-]+:)?` + words + `\]`),
	regexp.MustCompile(`(?i)^PHP (?:message: PHP )?(?:(?:core|compile|user) )?(fatal|parse|warning|notice|deprecated)\b`),
	regexp.MustCompile(`^(?:\[[^\]]{0,40}\]\s*)?[\s\d:.,TZ/+-]*(?:\d{1,2}-[A-Z][a-z]{2}-\d{4} [\d:.]+ )?\b(` + strings.ToUpper(words[1:len(words)-1]) + `)\b`),
	regexp.MustCompile(`^(panic|Exception|Traceback|fatal|error|warning)\b[ :(]`),
}

// levelOf guesses the level of a line; ok says that the line names one. It
// looks at the beginning only: what stands further on is what the line is about.
func levelOf(text string) (l Level, ok bool) {
	const beginning = 200
	text = text[:min(len(text), beginning)]
	for _, form := range levelForms {
		if m := form.FindStringSubmatch(text); m != nil {
			return levelNamed(strings.ToLower(m[1])), true
		}
	}
	return LevelInfo, false
}

func levelNamed(word string) Level {
	switch word {
	case "trace", "debug", "fine", "finer", "finest":
		return LevelDebug
	case "info", "note", "notice":
		return LevelInfo
	case "warn", "warning", "deprecated":
		return LevelWarn
	}
	return LevelError
}
