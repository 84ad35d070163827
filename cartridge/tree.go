package cartridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxText is the most that a [Definition] or a stratos.yaml may hold, in
// bytes, and maxDepth how deep their fields may be nested.
const (
	maxText  = 64 << 10
	maxDepth = 16
)

// kind is what a value of a text is, as people call it.
type kind string

const (
	isNothing kind = "nothing"
	isText    kind = "text"
	isNumber  kind = "a number"
	isBool    kind = "true or false"
	isList    kind = "a list"
	isFields  kind = "fields"
)

// place is where something stands, from 1. The zero place is nowhere.
type place struct{ line, column int }

// node is a value of a text, with its place.
type node struct {
	place
	kind   kind
	text   string // what is written: of text without quotes and escapes
	items  []*node
	fields []pair // in order; one name may be there twice
}

// pair is a field: its place is that of its name.
type pair struct {
	place
	name  string
	value *node
}

// parseText reads JSON, or else YAML without what makes it mean something else
// than one reads: anchors, aliases, merge keys and tags, which could also grow
// without bound. It returns nil if the text says nothing.
func parseText(text []byte) (*node, error) {
	switch {
	case len(text) > maxText:
		return nil, &FieldError{Err: fmt.Errorf("it has %d bytes, more than %d: put files into the release", len(text), maxText)}
	case !utf8.Valid(text):
		return nil, &FieldError{Err: errors.New("not UTF-8 text: save it as UTF-8")}
	case json.Valid(text):
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		t := &jsonTree{text: text, d: d, at: place{1, 1}}
		return t.value(0)
	}
	return parseYAML(text)
}

// jsonTree makes a tree of valid JSON.
type jsonTree struct {
	text []byte
	d    *json.Decoder
	done int   // bytes of text before at
	at   place // columns count runes
}

// next returns the next token and its place.
func (t *jsonTree) next() (json.Token, place, error) {
	from := int(t.d.InputOffset())
	for from < len(t.text) && bytes.IndexByte([]byte(" \t\r\n,:"), t.text[from]) >= 0 {
		from++
	}
	for _, r := range string(t.text[t.done:from]) {
		if t.at.column++; r == '\n' {
			t.at = place{t.at.line + 1, 1}
		}
	}
	t.done = from
	token, err := t.d.Token()
	return token, t.at, err
}

func (t *jsonTree) value(depth int) (*node, error) {
	token, at, err := t.next()
	if err != nil {
		return nil, &FieldError{Line: at.line, Column: at.column, Err: err}
	}
	if depth > maxDepth {
		return nil, tooDeep(at)
	}
	n := &node{place: at}
	switch v := token.(type) {
	case json.Delim:
		return n, t.inside(n, v, depth)
	case string:
		n.kind, n.text = isText, v
	case json.Number:
		n.kind, n.text = isNumber, v.String()
	case bool:
		n.kind, n.text = isBool, fmt.Sprint(v)
	default:
		n.kind = isNothing
	}
	return n, nil
}

// inside reads a list or fields up to their end.
func (t *jsonTree) inside(n *node, open json.Delim, depth int) error {
	n.kind = isList
	if open == '{' {
		n.kind = isFields
	}
	for t.d.More() {
		var f pair
		if n.kind == isFields {
			token, at, err := t.next()
			if err != nil {
				return &FieldError{Line: at.line, Column: at.column, Err: err}
			}
			f.place, f.name = at, fmt.Sprint(token)
		}
		v, err := t.value(depth + 1)
		if err != nil {
			return err
		}
		if f.value = v; n.kind == isFields {
			n.fields = append(n.fields, f)
		} else {
			n.items = append(n.items, v)
		}
	}
	_, _, err := t.next()
	return err
}

func tooDeep(at place) error {
	return &FieldError{Line: at.line, Column: at.column, Err: fmt.Errorf("more than %d levels of fields and lists: nothing here is so deep", maxDepth)}
}
