package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/token"
)

// Error is one thing that is wrong with a file. It repeats no values of
// settings and variables, which may be secrets.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 if what is wrong has no place
	Field        string // like subscriptions[0].min; empty if no field is concerned
	Err          error  // what is wrong, and the cure
}

func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	if e.Field != "" {
		where += ": " + e.Field
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// at sets where an error is.
func (e *Error) at(o *outline, t *token.Token) {
	if t != nil && t.Position != nil {
		e.Line, e.Column, e.Field = t.Position.Line, t.Position.Column, o.fields[t]
	}
}

// problems collects what is wrong with a file.
type problems struct {
	file    string
	outline *outline
	all     []*Error
}

// add notes what is wrong with a field.
func (p *problems) add(field string, err error) {
	if err == nil {
		return
	}
	line, column := p.outline.place(field)
	p.all = append(p.all, &Error{File: p.file, Line: line, Column: column, Field: field, Err: err})
}

// addf is add with a text.
func (p *problems) addf(field, format string, args ...any) {
	p.add(field, fmt.Errorf(format, args...))
}

// err joins all problems, in the order of the file.
func (p *problems) err() error {
	slices.SortStableFunc(p.all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(p.all))
	for i, e := range p.all {
		errs[i] = e
	}
	return errors.Join(errs...)
}
