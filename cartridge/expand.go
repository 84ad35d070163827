package cartridge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Vars is what the placeholders of a plan stand for on one instance.
type Vars struct {
	Ports   map[string]int // by name, as chosen by the agent
	Release string         // {{.Release}}, absolute
	Dir     string         // {{.Dir}}, absolute
	Data    string         // {{.Data}}, absolute
}

// Expand fills the placeholders of text. A port or a folder that v does not
// have, and anything else between double braces, is an error that names it.
func Expand(text string, v Vars) (string, error) {
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
		value, err := v.value(strings.Trim(inner, " \t\r\n"))
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		text = after
	}
}

// Literal returns a template that expands to s, whatever s holds. A type
// wraps in it all that comes from tenants: it is data, never a template.
// The template text before it must not end in "{".
func Literal(s string) string { return strings.ReplaceAll(s, "{", `{{"{"}}`) }

// Expand returns a copy of the plan in which every template is filled, and the
// defaults too. Errors are joined; each names its field.
func (p Plan) Expand(v Vars) (Plan, error) {
	p = p.WithDefaults()
	var errs []error
	fill := func(text *string, field string, args ...any) {
		s, err := Expand(*text, v)
		if err != nil {
			errs = append(errs, fmt.Errorf(field+": %w", append(args, err)...))
			return
		}
		*text = s
	}
	for i := range p.Files {
		fill(&p.Files[i].Content, "files[%d].content (%s)", i, p.Files[i].Path)
	}
	for i := range p.Processes {
		pr := &p.Processes[i]
		for j := range pr.Args {
			fill(&pr.Args[j], "processes[%d].args[%d]", i, j)
		}
		fill(&pr.Dir, "processes[%d].dir", i)
		for _, k := range slices.Sorted(maps.Keys(pr.Env)) {
			text := pr.Env[k]
			fill(&text, "processes[%d].env[%s]", i, k)
			pr.Env[k] = text
		}
	}
	return p, errors.Join(errs...)
}

// value is what stands for the inside of one placeholder.
func (v Vars) value(inner string) (string, error) {
	switch inner {
	case ".Release":
		return folder(inner, v.Release)
	case ".Dir":
		return folder(inner, v.Dir)
	case ".Data":
		return folder(inner, v.Data)
	}
	if s, ok := quoted(inner); ok {
		return s, nil
	}
	if rest, ok := strings.CutPrefix(inner, "port"); ok {
		arg := strings.TrimLeft(rest, " \t\r\n")
		if name, ok := quoted(arg); ok && arg != rest {
			return v.port(name)
		}
	}
	return "", fmt.Errorf(`no placeholder {{%s}}: there are {{port "NAME"}}, {{.Release}}, {{.Dir}}, {{.Data}}, and {{"{"}} for a brace`, clip(inner))
}

func (v Vars) port(name string) (string, error) {
	n, ok := v.Ports[name]
	if !ok {
		return "", fmt.Errorf("no port %q: the plan's ports are [%s]", clip(name), strings.Join(slices.Sorted(maps.Keys(v.Ports)), " "))
	}
	return strconv.Itoa(n), nil
}

func folder(name, dir string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("{{%s}} has no folder here", name)
	}
	return dir, nil
}

// quoted reads a string constant as text/template does.
func quoted(s string) (string, bool) {
	if s == "" || (s[0] != '"' && s[0] != '`') {
		return "", false
	}
	text, err := strconv.Unquote(s)
	return text, err == nil
}

// clip keeps messages short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
