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

	Volumes map[string]string // folders by name, absolute
	Secrets map[string]string // values by name
	Binding *Binding          // the dependent that an action is about
}

// Binding is what a dependent's access to a service consists of.
type Binding struct{ User, Password, Database string }

// Expand fills the placeholders of text. A port, a folder or a secret that v
// does not have, and anything else between double braces, is an error that
// names it.
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
// The actions of its service and of its hooks are left as they are, for
// [Action.Expand].
func (p Plan) Expand(v Vars) (Plan, error) {
	p, v.Binding = p.WithDefaults(), nil
	return p, p.templates(func(at slot, text string) (string, error) {
		if at.action != "" {
			return text, nil
		}
		return at.expand(text, v)
	})
}

// Expand returns a copy of the action in which every template is filled.
func (a Action) Expand(v Vars) (Action, error) {
	a = *a.clone()
	w := walk{fill: func(at slot, text string) (string, error) { return at.expand(text, v) }}
	w.action("", "", &a)
	return a, errors.Join(w.errs...)
}

// tryActions says what is wrong with the templates of the actions.
func (p Plan) tryActions(v Vars) error {
	p = p.clone()
	return p.templates(func(at slot, text string) (string, error) {
		of := v
		switch at.action {
		case "":
			return text, nil
		case backup, restore, hook:
			of.Binding = nil
		}
		return at.expand(text, of)
	})
}

// slot is where a template stands.
type slot struct {
	field  string
	action string // of which kind; empty: in none
	open   bool   // others can read it: no secret is for there
}

func (at slot) expand(text string, v Vars) (string, error) {
	if at.open {
		v.Secrets, v.Binding = nil, nil
	}
	return Expand(text, v)
}

// templates replaces every template of the plan by what fill makes of it. What
// the plan points to must be its own. Errors are joined; each names its field.
func (p *Plan) templates(fill func(slot, string) (string, error)) error {
	w := walk{fill: fill}
	for i := range p.Files {
		w.text(slot{field: fmt.Sprintf("files[%d].content (%s)", i, p.Files[i].Path)}, &p.Files[i].Content)
	}
	for i := range p.Processes {
		pr := &p.Processes[i]
		field := fmt.Sprintf("processes[%d].", i)
		w.args(slot{field: field + "args", open: true}, pr.Args)
		w.text(slot{field: field + "dir", open: true}, &pr.Dir)
		w.env(slot{field: field + "env"}, pr.Env)
	}
	for name, a := range p.Service.actions() {
		w.action("service."+name+".", name, a)
	}
	for i := range p.Hooks {
		w.action(fmt.Sprintf("hooks[%d].run.", i), hook, &p.Hooks[i].Run)
	}
	return errors.Join(w.errs...)
}

// walk fills templates in place, and keeps what is wrong with them.
type walk struct {
	fill func(slot, string) (string, error)
	errs []error
}

func (w *walk) text(at slot, text *string) {
	s, err := w.fill(at, *text)
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", at.field, err))
		return
	}
	*text = s
}

func (w *walk) args(at slot, all []string) {
	for i := range all {
		one := at
		one.field = fmt.Sprintf("%s[%d]", at.field, i)
		w.text(one, &all[i])
	}
}

func (w *walk) env(at slot, env map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(env)) {
		one, text := at, env[k]
		one.field = fmt.Sprintf("%s[%s]", at.field, k)
		w.text(one, &text)
		env[k] = text
	}
}

// action fills the templates of an action, whose fields have names that begin
// with field; kind is empty if it stands alone.
func (w *walk) action(field, kind string, a *Action) {
	w.args(slot{field: field + "args", action: kind, open: true}, a.Args)
	w.env(slot{field: field + "env", action: kind}, a.Env)
	w.text(slot{field: field + "input", action: kind}, &a.Input)
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
	for kind, look := range map[string]func(string) (string, error){
		"port": v.port, "volume": v.volume, "secret": v.secret, "binding": v.binding,
	} {
		rest, ok := strings.CutPrefix(inner, kind)
		arg := strings.TrimLeft(rest, " \t\r\n")
		if name, isName := quoted(arg); ok && isName && arg != rest {
			return look(name)
		}
	}
	return "", fmt.Errorf(`no placeholder {{%s}}: there are {{port "NAME"}}, {{volume "NAME"}}, {{secret "NAME"}}, {{binding "NAME"}}, {{.Release}}, {{.Dir}}, {{.Data}}, and {{"{"}} for a brace`, clip(inner))
}

func (v Vars) port(name string) (string, error) {
	n, ok := v.Ports[name]
	if !ok {
		return "", fmt.Errorf("no port %q: the plan's ports are [%s]", clip(name), names(v.Ports))
	}
	return strconv.Itoa(n), nil
}

func (v Vars) volume(name string) (string, error) {
	dir, ok := v.Volumes[name]
	if !ok {
		return "", fmt.Errorf("no volume %q: the plan's volumes are [%s]", clip(name), names(v.Volumes))
	}
	return dir, nil
}

func (v Vars) secret(name string) (string, error) {
	s, ok := v.Secrets[name]
	if !ok {
		return "", fmt.Errorf("no secret %q here: the plan's secrets are [%s], for files, environments and inputs, never for arguments", clip(name), names(v.Secrets))
	}
	return s, nil
}

func (v Vars) binding(name string) (string, error) {
	if v.Binding != nil {
		switch name {
		case "user":
			return v.Binding.User, nil
		case "password":
			return v.Binding.Password, nil
		case "database":
			return v.Binding.Database, nil
		}
	}
	return "", fmt.Errorf(`no binding %q here: there are "user", "password" and "database", in the input and the environment of connect and disconnect`, clip(name))
}

func names[V any](m map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

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
