package rules_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unfinished are marks of work left for later: what is here is finished, or it
// is an issue.
func unfinished() *regexp.Regexp {
	return regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)
}

// machinePath finds paths that exist on somebody's machine only. A folder's
// name before them, or a placeholder, makes them parts of another path.
func machinePath() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[\s"'(=:,` + "`" + `])(/(?:work|root|home|Users|tmp/[a-z]+)/[\w./-]+)`)
}

func TestNoTODO(t *testing.T) {
	mark := unfinished()
	textFiles(t, func(path, text string) {
		for i, line := range strings.Split(text, "\n") {
			if m := mark.FindString(line); m != "" {
				t.Errorf("%s:%d: %s: finish it, or open an issue", path, i+1, m)
			}
		}
	})
}

func TestNoMachinePaths(t *testing.T) {
	mark := machinePath()
	textFiles(t, func(path, text string) {
		if path == "internal/rules/words_test.go" {
			return
		}
		for i, line := range strings.Split(text, "\n") {
			if m := mark.FindStringSubmatch(line); m != nil {
				t.Errorf("%s:%d: %s is a path of some machine: make it relative, or an option", path, i+1, m[1])
			}
		}
	})
}

func TestWords(t *testing.T) {
	require.True(t, unfinished().MatchString("// TO"+"DO: later"))
	require.False(t, unfinished().MatchString("mastodons, and to do"))
	for _, bad := range []string{`"/home/ann/src"`, "/root/go/bin", "see /Users/ann/x.md", "dir=/tmp/out/x"} {
		require.True(t, machinePath().MatchString(bad), bad)
	}
	for _, good := range []string{"https://h/work/x", "/usr/share/doc", "data/root/x", "/tmp", "/var/home/x", "{{.Dir}}/work/x"} {
		require.False(t, machinePath().MatchString(good), good)
	}
}
