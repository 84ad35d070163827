package rules_test

import (
	"strings"
	"testing"
)

// TestPackageDocs checks that every package says what it is for.
func TestPackageDocs(t *testing.T) {
	for _, p := range list(t, "./...") {
		begin := "Package " + p.Name + " "
		if p.Name == "main" {
			begin = "Command "
		}
		switch {
		case p.Doc == "":
			t.Errorf("%s has no doc comment: begin one file with \"// %s...\"", p.short(), begin)
		case !strings.HasPrefix(p.Doc, begin):
			t.Errorf("%s: its doc comment begins with %q: begin it with %q", p.short(), firstWords(p.Doc), begin)
		}
	}
}

func firstWords(s string) string {
	words := strings.Fields(s)
	return strings.Join(words[:min(3, len(words))], " ")
}
