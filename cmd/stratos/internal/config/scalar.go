package config

import (
	"errors"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

var (
	_ yaml.NodeUnmarshaler = (*Duration)(nil)
	_ yaml.NodeUnmarshaler = (*Count)(nil)
	_ yaml.NodeUnmarshaler = (*Text)(nil)
)

// Duration is a time span, written with its unit: 500ms, 5s, 10m, 1h30m.
type Duration time.Duration

// UnmarshalYAML reads a duration; a number without a unit is refused.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	if n.Type() == ast.NullType {
		return nil
	}
	v, err := time.ParseDuration(n.GetToken().Value)
	if err != nil || n.Type() != ast.StringType {
		return &placedError{n.GetToken(), errors.New("not a time span: write a number with its unit, for example 500ms, 5s or 10m")}
	}
	*d = Duration(v)
	return nil
}

// String writes the duration as it is read.
func (d Duration) String() string { return time.Duration(d).String() }

// Count is a whole number. A fraction is refused, where an int would round it.
type Count int

// UnmarshalYAML reads a whole number, in decimal digits.
func (c *Count) UnmarshalYAML(n ast.Node) error {
	if n.Type() == ast.NullType {
		return nil
	}
	v, err := strconv.ParseInt(n.GetToken().Value, 10, 32)
	if err != nil || n.Type() != ast.IntegerType {
		return &placedError{n.GetToken(), errors.New("not a whole number: write one like 3")}
	}
	*c = Count(v)
	return nil
}

// Text is text as it is written, also where YAML sees a number: a version 1.10
// does not become 1.1.
type Text string

// UnmarshalYAML reads any value but a list or fields.
func (s *Text) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.StringNode:
		*s = Text(n.Value)
	case *ast.LiteralNode: // begins with | or >
		*s = Text(n.Value.Value)
	case *ast.NullNode:
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		*s = Text(n.GetToken().Value)
	default:
		return &placedError{n.GetToken(), errors.New("not a text: write one value, in quotes if it has special characters")}
	}
	return nil
}

// placedError is an error about a place of the file.
type placedError struct {
	token *token.Token
	err   error
}

func (e *placedError) Error() string { return e.err.Error() }
