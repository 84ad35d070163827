package cartridge

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Setting is what a subscription may choose of a [Definition].
type Setting struct {
	Description string `json:"description,omitempty"` // for people, at most 1024 bytes
	Default     string `json:"default,omitempty"`     // what holds if nothing is chosen
	// Pattern that the whole value matches, in RE2's syntax. Default: any.
	Pattern string `json:"pattern,omitempty"`
	// Required: a subscription has to choose; there is no default.
	Required bool `json:"required,omitempty"`
}

// maxPattern and maxValue bound a setting, in bytes.
const (
	maxPattern = 512
	maxValue   = 4096
)

// settingName is what a setting can be called.
var settingName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// check says what is wrong with a setting; field is where it stands.
func (s Setting) check(field, name string) []*FieldError {
	var errs []*FieldError
	add := func(sub string, err error) { errs = append(errs, &FieldError{Field: field + sub, Err: err}) }
	if !settingName.MatchString(name) {
		add("", fmt.Errorf("%q is no name of a setting: use a-z, 0-9, _ and -, a letter first", clip(name)))
	}
	if len(s.Description) > maxDescription || !utf8.ValidString(s.Description) {
		add(".description", fmt.Errorf("it is longer than %d bytes, or no text", maxDescription))
	}
	if s.Required && s.Default != "" {
		add(".default", errors.New("what is required has no default: remove one of the two"))
	}
	pattern, err := s.compile()
	if err != nil {
		add(".pattern", err)
	} else if err := s.accept(pattern, s.Default); err != nil && s.Default != "" {
		add(".default", err)
	}
	return errs
}

func (s Setting) compile() (*regexp.Regexp, error) {
	if len(s.Pattern) > maxPattern {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(s.Pattern), maxPattern)
	}
	// Alone first: "a)|(b" would become a pattern by what is put around it.
	if _, err := regexp.Compile(s.Pattern); err != nil {
		return nil, fmt.Errorf("no pattern of RE2's syntax: %w", err)
	}
	return regexp.Compile(`^(?:` + s.Pattern + `)$`)
}

// accept says whether a value may be chosen.
func (s Setting) accept(pattern *regexp.Regexp, value string) error {
	switch {
	case len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return fmt.Errorf("it is longer than %d bytes, or no text", maxValue)
	case s.Pattern != "" && !pattern.MatchString(value):
		return fmt.Errorf("%q does not match %s", clip(value), s.Pattern)
	}
	return nil
}

// values are the settings' values for a subscription that chose some. All
// that is wrong with them is joined.
func (d Definition) values(chosen map[string]string) (map[string]string, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		if _, ok := d.Settings[name]; !ok {
			errs = append(errs, fmt.Errorf("setting %s: %s %s", clip(name), d.Name, knows(d.Settings)))
		}
	}
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		s := d.Settings[name]
		value, ok := chosen[name]
		if !ok {
			if value = s.Default; s.Required {
				errs = append(errs, fmt.Errorf("setting %s: is required: %s", name, s.about()))
			}
			values[name] = value
			continue
		}
		pattern, err := s.compile()
		if err == nil {
			err = s.accept(pattern, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("setting %s: %w: %s", name, err, s.about()))
		}
		values[name] = value
	}
	return values, errors.Join(errs...)
}

// about tells people what to choose.
func (s Setting) about() string {
	switch {
	case s.Description != "":
		return "it is " + s.Description
	case s.Pattern != "":
		return "choose what matches " + s.Pattern
	}
	return "choose a value"
}

func knows(settings map[string]Setting) string {
	if len(settings) == 0 {
		return "has no settings"
	}
	return "knows " + strings.Join(slices.Sorted(maps.Keys(settings)), ", ")
}

// withSettings returns a copy of the plan in which the settings stand, as data.
func (p Plan) withSettings(values map[string]string) (Plan, error) {
	p = p.clone()
	err := p.templates(func(_ slot, text string) (string, error) { return fillSettings(text, values) })
	return p, err
}

// fillSettings replaces {{setting "NAME"}} and leaves other placeholders alone.
func fillSettings(text string, values map[string]string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		inner, after, found := strings.Cut(rest, "}}")
		if !found {
			return "", fmt.Errorf("placeholder {{%s has no end: add }}", clip(rest))
		}
		name, ok := settingOf(strings.Trim(inner, " \t\r\n"))
		value, known := values[name]
		switch {
		case !ok:
			out.WriteString("{{" + inner + "}}")
		case !known:
			return "", fmt.Errorf("no setting %q: the settings are [%s]", clip(name), strings.Join(slices.Sorted(maps.Keys(values)), " "))
		default:
			out.WriteString(Literal(value))
		}
		text = after
	}
}

// usesSetting reports whether a template depends on any setting.
func usesSetting(text string) bool {
	_, err := fillSettings(text, nil)
	return err != nil
}

// settingOf returns the name in a placeholder for a setting.
func settingOf(inner string) (string, bool) {
	rest, ok := strings.CutPrefix(inner, "setting")
	if !ok {
		return "", false
	}
	arg := strings.TrimLeft(rest, " \t\r\n")
	name, ok := quoted(arg)
	return name, ok && arg != rest
}
