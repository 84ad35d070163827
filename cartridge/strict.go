package cartridge

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// strict fills Go values from a tree, and takes nothing that it does not know.
// It goes on after an error, so that all of them are told at once.
type strict struct {
	errs   []*FieldError
	places map[string]place // of every field and item by its path
	closed map[string]bool  // fields of the Go types that nobody may write
}

// decodeText reads text into the struct that to points to.
func (s *strict) decodeText(text []byte, to any) {
	s.places = map[string]place{}
	root, err := parseText(text)
	if err != nil {
		var f *FieldError
		if !errors.As(err, &f) {
			f = &FieldError{Err: err}
		}
		s.errs = append(s.errs, f)
		return
	}
	if root != nil {
		s.value("", root, reflect.ValueOf(to).Elem())
	}
}

// err returns what was found, with further errors that have no place yet.
func (s *strict) err(more ...*FieldError) error {
	for _, e := range more {
		at := s.place(e.Field)
		e.Line, e.Column = at.line, at.column
	}
	return joinFields(append(s.errs, more...))
}

// place returns where a field is, or the nearest one around it.
func (s *strict) place(field string) place {
	field, _, _ = strings.Cut(field, " (")
	for field != "" {
		if at, ok := s.places[field]; ok {
			return at
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return place{}
}

func (s *strict) add(at place, field, format string, args ...any) {
	s.errs = append(s.errs, &FieldError{Line: at.line, Column: at.column, Field: field, Err: fmt.Errorf(format, args...)})
}

// want reports whether n is of a kind, and adds an error if not.
func (s *strict) want(field string, n *node, k kind) bool {
	switch {
	case n.kind == k:
		return true
	case n.kind == isNothing:
		s.add(n.place, field, "it is empty: write %s, or remove the field", k)
	case k == isText && (n.kind == isNumber || n.kind == isBool):
		s.add(n.place, field, "found %s: write text, in quotes", n.kind)
	default:
		s.add(n.place, field, "found %s: write %s", n.kind, k)
	}
	return false
}

func (s *strict) value(field string, n *node, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Duration:
		s.duration(field, n, v)
		return
	case uint32:
		s.mode(field, n, v)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s.want(field, n, isText) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if s.want(field, n, isBool) {
			v.SetBool(n.text == "true")
		}
	case reflect.Struct:
		if s.want(field, n, isFields) {
			s.fields(field, n, v)
		}
	case reflect.Slice:
		if s.want(field, n, isList) && len(n.items) > 0 {
			v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
			for i, item := range n.items {
				name := fmt.Sprintf("%s[%d]", field, i)
				s.places[name] = item.place
				s.value(name, item, v.Index(i))
			}
		}
	case reflect.Map:
		if s.want(field, n, isFields) && len(n.fields) > 0 {
			s.entries(field, n, v)
		}
	}
}

// fields fills a struct by its JSON names.
func (s *strict) fields(path string, n *node, v reflect.Value) {
	names := s.names(v.Type())
	seen := map[string]bool{}
	for _, f := range n.fields {
		field := f.name
		if path != "" {
			field = path + "." + f.name
		}
		i := slices.Index(names, f.name)
		switch {
		case f.name == "" || i < 0:
			s.add(f.place, clip(field), "no such field: %s", suggest(f.name, names))
		case seen[f.name]:
			s.add(f.place, field, "is there twice: remove one")
		default:
			s.places[field] = f.place
			s.value(field, f.value, v.Field(i))
		}
		seen[f.name] = true
	}
}

// names returns what the fields of a struct are called, "" for those that
// cannot be written.
func (s *strict) names(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if s.closed[t.Name()+"."+names[i]] {
			names[i] = ""
		}
	}
	return names
}

// entries fills a map, whose keys are free.
func (s *strict) entries(path string, n *node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, f := range n.fields {
		field := path + "[" + f.name + "]"
		key := reflect.ValueOf(f.name)
		if v.MapIndex(key).IsValid() {
			s.add(f.place, clip(field), "is there twice: remove one")
			continue
		}
		s.places[field] = f.place
		entry := reflect.New(v.Type().Elem()).Elem()
		s.value(field, f.value, entry)
		v.SetMapIndex(key, entry)
	}
}

func (s *strict) duration(field string, n *node, v reflect.Value) {
	d, err := time.ParseDuration(n.text)
	if n.kind != isText || err != nil {
		s.add(n.place, field, `not a time span: write a number with its unit, as in "10s"`)
		return
	}
	v.SetInt(int64(d))
}

// mode reads permissions as everybody writes them: 0644, with or without
// quotes. Without the first zero it would be another number in YAML.
func (s *strict) mode(field string, n *node, v reflect.Value) {
	digits, octal := strings.CutPrefix(strings.Replace(n.text, "0o", "0", 1), "0")
	mode, err := strconv.ParseUint(digits, 8, 32)
	if (n.kind != isText && n.kind != isNumber) || !octal || err != nil {
		s.add(n.place, field, `no permissions of a file: write for example "0644"`)
		return
	}
	v.SetUint(mode)
}

// suggest returns what to do about a name that is not there.
func suggest(name string, names []string) string {
	best, least := "", min((len(name)+2)/3, 3)+1
	known := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	if len(name) <= 64 {
		for _, n := range known {
			if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
				best, least = n, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	slices.Sort(known)
	return "there are " + strings.Join(known, ", ")
}

// distance is how many letters have to change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
