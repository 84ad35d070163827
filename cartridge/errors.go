package cartridge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FieldError is one thing that is wrong with a text that somebody wrote, a
// [Definition] or a stratos.yaml.
type FieldError struct {
	Line, Column int    // from 1; 0 if what is wrong has no place
	Field        string // like plan.processes[0].args; empty if no field is concerned
	Err          error  // what is wrong, and the cure
}

// Error returns for example
//
//	line 7, column 3: plan.proceses: no such field: did you mean "processes"?
func (e *FieldError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// maxErrors is how many errors are told at once.
const maxErrors = 20

// joinFields joins errors in the order of the text.
func joinFields(all []*FieldError) error {
	slices.SortStableFunc(all, func(a, b *FieldError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for _, e := range all[:min(len(all), maxErrors)] {
		errs = append(errs, e)
	}
	if more := len(all) - maxErrors; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// fieldErrors takes a joined error apart whose parts begin with their fields,
// as those of [Plan.Check] do, and puts prefix before each field.
func fieldErrors(prefix string, err error) []*FieldError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*FieldError
		for _, e := range joined.Unwrap() {
			all = append(all, fieldErrors(prefix, e)...)
		}
		return all
	}
	field, text, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return []*FieldError{{Field: strings.TrimSuffix(prefix, "."), Err: err}}
	}
	return []*FieldError{{Field: prefix + field, Err: errors.New(text)}}
}
