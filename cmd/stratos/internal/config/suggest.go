package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggestion is ", did you mean x?" if some field's name is close to name.
func suggestion(name string) string {
	best, distance := "", 1+len(name)/3
	for _, known := range fieldNames(reflect.TypeFor[File](), nil) {
		if d := edits(strings.ToLower(name), strings.ToLower(known)); d < distance {
			best, distance = known, d
		}
	}
	switch best {
	case "":
		return ""
	case name:
		return " here, it belongs elsewhere"
	}
	return fmt.Sprintf(", did you mean %s?", best)
}

// fieldNames appends the names of a type's fields, and of theirs, each once.
func fieldNames(t reflect.Type, names []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem(), names)
	case reflect.Struct:
		for f := range t.Fields() {
			if name := f.Tag.Get("yaml"); !slices.Contains(names, name) {
				names = append(names, name)
			}
			names = fieldNames(f.Type, names)
		}
	}
	return names
}

// edits is how many letters have to be inserted, removed or replaced to make
// b of a (Levenshtein's distance).
func edits(a, b string) int {
	if len(a) > 40 { // no name of ours is so long: spare the work
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
