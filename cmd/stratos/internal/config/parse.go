package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads a file's content; name is what it is called in errors.
func Parse(name string, data []byte) (*File, error) {
	p := &problems{file: name, outline: newOutline(nil)}
	root, err := document(data)
	if err != nil {
		p.all = append(p.all, p.shape(err))
		return nil, p.err()
	}
	f := &File{}
	if root != nil {
		p.outline = newOutline(root)
		if err := yaml.NodeToValue(root, f, yaml.Strict()); err != nil {
			p.all = append(p.all, p.shape(err))
			return nil, p.err()
		}
	}
	f.setDefaults()
	f.check(p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// document returns the one document's content; nil if there is none.
func document(data []byte) (ast.Node, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("more than %d bytes: this is no configuration", maxSize)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text: save it as UTF-8")
	}
	// Repeated keys are left to the decoder, which says better what they are.
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	var root ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, errors.New("more than one document: remove the line --- and what follows it")
		}
		root = d.Body
	}
	if root == nil || root.Type() == ast.NullType {
		return nil, nil
	}
	plain := &plainOnly{}
	ast.Walk(plain, root)
	return root, plain.err
}

// plainOnly refuses what makes a file mean something else than one reads.
type plainOnly struct{ err error }

// Visit implements [ast.Visitor].
func (p *plainOnly) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		p.refuse(n, "anchors, aliases and merge keys are not allowed: write the value out")
	case *ast.TagNode:
		p.refuse(n, "tags are not allowed: remove what begins with an exclamation mark, or put it in quotes")
	case *ast.MappingKeyNode:
		p.refuse(n, "a key cannot begin with a question mark: write name: value")
	}
	if p.err != nil {
		return nil
	}
	return p
}

func (p *plainOnly) refuse(n ast.Node, why string) {
	p.err = &placedError{n.GetToken(), errors.New(why)}
}

// shape makes one of our errors of one of the YAML library's. That one would
// quote the file, and with it what may be secret.
func (p *problems) shape(err error) *Error {
	e := &Error{File: p.file}
	var place *placedError
	var y yaml.Error
	switch {
	case errors.As(err, &place):
		e.Err = place.err
		e.at(p.outline, place.token)
	case errors.As(err, &y):
		e.Err = errors.New(shapeText(y))
		e.at(p.outline, y.GetToken())
	default:
		e.Err = err
	}
	return e
}

func shapeText(err yaml.Error) string {
	var unknown *yaml.UnknownFieldError
	var mistyped *yaml.TypeError
	var double *yaml.DuplicateKeyError
	var overflow *yaml.OverflowError
	var unexpected *yaml.UnexpectedNodeTypeError
	switch {
	case errors.As(err, &unknown):
		name := strings.Trim(strings.TrimPrefix(unknown.Message, "unknown field "), `"`)
		return "there is no such field" + suggestion(name) + `; "stratos serve --example" shows all there are`
	case errors.As(err, &double):
		return "is there twice: remove one"
	case errors.As(err, &overflow):
		return "the number is too large: write a smaller one"
	case errors.As(err, &mistyped):
		return fmt.Sprintf("found %s: write %s", kindName(mistyped.SrcType), kindName(mistyped.DstType))
	case errors.As(err, &unexpected):
		return fmt.Sprintf("found %s: write %s", nodeName(unexpected.Actual), nodeName(unexpected.Expected))
	}
	return "not YAML: " + err.GetMessage()
}

// nodeName says in words what a value is.
func nodeName(t ast.NodeType) string {
	switch t {
	case ast.MappingType, ast.MappingValueType:
		return fields
	case ast.SequenceType:
		return "a list"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.NullType:
		return "nothing"
	}
	return "text"
}

const fields = `fields, as in "name: value"`

// kindName says in words what a value is.
func kindName(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return fields
	}
	return "something else"
}
