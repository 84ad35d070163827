package cartridge

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML makes a tree of one YAML document.
func parseYAML(text []byte) (root *node, err error) {
	if err := shallow(text); err != nil {
		return nil, err
	}
	// None is known. But the parser is large, it is somebody else's, and what
	// it reads comes from tenants: a panic would end the control plane.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, &FieldError{Err: fmt.Errorf("not YAML: the parser gave up: %v", r)}
		}
	}()
	return parseDocument(text)
}

func parseDocument(text []byte) (*node, error) {
	// Repeated names are left to the decoder, which says better what they are.
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, yamlError(err)
	}
	var root ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, &FieldError{Err: errors.New("more than one document: remove the line --- and what follows it")}
		}
		root = d.Body
	}
	if root == nil || root.Type() == ast.NullType {
		return nil, nil
	}
	return yamlNode(root, 0)
}

// shallow bounds what the parser, which descends into every level, is given.
func shallow(text []byte) error {
	depth := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if depth > 1000 {
			return &FieldError{Err: errors.New("more than 1000 open brackets")}
		}
	}
	return nil
}

// yamlError makes one of our errors of one of the library's, which would quote
// the whole text.
func yamlError(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return &FieldError{Err: fmt.Errorf("not YAML: %w", err)}
	}
	at := where(y.GetToken())
	return &FieldError{Line: at.line, Column: at.column, Err: fmt.Errorf("not YAML: %s", clip(y.GetMessage()))}
}

func where(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

func yamlNode(from ast.Node, depth int) (*node, error) {
	at := where(from.GetToken())
	if depth > maxDepth {
		return nil, tooDeep(at)
	}
	n := &node{place: at}
	switch v := from.(type) {
	case *ast.MappingNode:
		return n, n.mapping(v.Values, depth)
	case *ast.MappingValueNode:
		return n, n.mapping([]*ast.MappingValueNode{v}, depth)
	case *ast.SequenceNode:
		return n, n.sequence(v, depth)
	case *ast.StringNode:
		n.kind, n.text = isText, v.Value
	case *ast.LiteralNode:
		n.kind = isText
		if v.Value != nil {
			n.text = v.Value.Value
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = isNumber, from.GetToken().Value
	case *ast.BoolNode:
		n.kind, n.text = isBool, from.GetToken().Value
	case *ast.NullNode:
		n.kind = isNothing
	default:
		return nil, unwelcome(from)
	}
	return n, nil
}

func (n *node) mapping(values []*ast.MappingValueNode, depth int) error {
	n.kind = isFields
	for _, v := range values {
		if v == nil || v.Key == nil || v.Value == nil {
			return &FieldError{Line: n.line, Column: n.column, Err: errors.New("a field without a name or a value")}
		}
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return unwelcome(v.Key)
		}
		f := pair{place: where(key.GetToken()), name: key.Value}
		var err error
		if f.value, err = yamlNode(v.Value, depth+1); err != nil {
			return err
		}
		n.fields = append(n.fields, f)
	}
	if len(n.fields) > 0 && n.fields[0].line > 0 {
		n.place = n.fields[0].place // that of the node itself is its first colon
	}
	return nil
}

func (n *node) sequence(from *ast.SequenceNode, depth int) error {
	n.kind = isList
	for _, v := range from.Values {
		if v == nil {
			return &FieldError{Line: n.line, Column: n.column, Err: errors.New("a list with an item that is nothing")}
		}
		item, err := yamlNode(v, depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return nil
}

// unwelcome says what may not be written.
func unwelcome(n ast.Node) error {
	why := "this is not taken here: put it in quotes"
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		why = "anchors, aliases and merge keys are not taken: write the value out"
	case *ast.TagNode:
		why = "tags are not taken: remove what begins with an exclamation mark, or put it in quotes"
	case *ast.MappingKeyNode:
		why = "a name cannot begin with a question mark: write name: value"
	}
	at := where(n.GetToken())
	return &FieldError{Line: at.line, Column: at.column, Err: errors.New(why)}
}
