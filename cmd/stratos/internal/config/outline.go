package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// outline knows where every field of a file is.
type outline struct {
	tokens map[string]*token.Token // by field, like subscriptions[0].min
	fields map[*token.Token]string
}

func newOutline(root ast.Node) *outline {
	o := &outline{tokens: map[string]*token.Token{}, fields: map[*token.Token]string{}}
	o.walk("", root)
	return o
}

// place returns where a field is, or the nearest one around it; 0 if none is there.
func (o *outline) place(field string) (line, column int) {
	for {
		if t := o.tokens[field]; t != nil && t.Position != nil {
			return t.Position.Line, t.Position.Column
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return 0, 0
		}
		field = field[:i]
	}
}

func (o *outline) note(field string, t *token.Token) {
	if t == nil {
		return
	}
	if _, ok := o.tokens[field]; !ok { // a key, rather than its value
		o.tokens[field] = t
	}
	o.fields[t] = field
}

func (o *outline) walk(field string, n ast.Node) {
	switch n := n.(type) {
	case nil:
	case *ast.MappingNode:
		for _, v := range n.Values {
			o.pair(field, v)
		}
	case *ast.MappingValueNode:
		o.pair(field, n)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			item := fmt.Sprintf("%s[%d]", field, i)
			o.note(item, first(v))
			o.walk(item, v)
		}
	case *ast.AnchorNode:
		o.walk(field, n.Value)
	case *ast.TagNode:
		o.walk(field, n.Value)
	default:
		o.note(field, n.GetToken())
	}
}

func (o *outline) pair(field string, v *ast.MappingValueNode) {
	if v == nil || v.Key == nil {
		return
	}
	key := v.Key.GetToken()
	if key == nil {
		return
	}
	field = child(field, key.Value)
	o.note(field, key)
	if v.Value != nil && v.Value.GetToken() != nil {
		o.fields[v.Value.GetToken()] = field
	}
	o.walk(field, v.Value)
}

// child is the name of a field in a field. Names that are no words are quoted.
func child(field, name string) string {
	if name == "" || strings.ContainsAny(name, ".[] ") {
		return fmt.Sprintf("%s[%q]", field, name)
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

// first is where a node begins: a mapping's own token is its first colon.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if len(n.Values) > 0 && n.Values[0].Key != nil {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		if n.Key != nil {
			return n.Key.GetToken()
		}
	}
	return n.GetToken()
}
