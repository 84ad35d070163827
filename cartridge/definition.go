package cartridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Definition is a cartridge that is only data: a [Plan] that is the same for
// every release, with settings that subscriptions may choose.
//
//	name: redis
//	description: an in-memory store
//	settings:
//	  memory: {description: the most memory, default: 64mb, pattern: "[0-9]+mb"}
//	plan:
//	  programs: [{names: [redis-server], package: redis-server}]
//	  ports: [{name: redis, protocol: tcp}]
//	  processes:
//	  - name: redis
//	    args: [redis-server, --port, '{{port "redis"}}', --maxmemory, '{{setting "memory"}}']
//	  health: {kind: tcp, port: redis, start: 10s}
//
// The plan has the words of [Plan] in JSON, without v and cartridge; times are
// texts like "10s", and modes of files texts like "0644". Templates know one
// placeholder more, {{setting "NAME"}}. What a subscription's environment
// holds is added to every process and hook.
type Definition struct {
	Name        string `json:"name"`                  // what subscriptions call it, by [ValidName]; required
	Description string `json:"description,omitempty"` // for people, at most 1024 bytes
	Version     string `json:"version,omitempty"`     // for people, at most 64 bytes; nothing compares it
	// Folder of a repository that is for this cartridge by convention, see
	// [Foldered]. Default: none.
	Folder string `json:"folder,omitempty"`
	// Settings that subscriptions may choose, by name. Others are refused.
	Settings map[string]Setting `json:"settings,omitempty"`
	Plan     Plan               `json:"plan"` // V and Cartridge are set by Type; required
}

// The most bytes of what people read.
const (
	maxDescription = 1024
	maxVersion     = 64
)

// planOwn are the fields of a plan that a definition does not have.
var planOwn = [...]string{"Plan.v", "Plan.cartridge"}

// DecodeDefinition reads a definition, YAML or JSON, of at most 64 KiB. It is
// strict: an unknown or doubled field, a value of another type, and all that
// Check finds is refused, each with its line and field as a [*FieldError];
// the errors are joined.
func DecodeDefinition(text []byte) (Definition, error) {
	s := strict{closed: map[string]bool{}}
	for _, name := range planOwn {
		s.closed[name] = true
	}
	var d Definition
	s.decodeText(text, &d)
	// What could not be read would only be missed once more.
	if len(s.errs) > 0 {
		return Definition{}, s.err()
	}
	if errs := d.check(); len(errs) > 0 {
		return Definition{}, s.err(errs...)
	}
	return d, nil
}

// Encode checks the definition and returns it as JSON: the same bytes for the
// same definition. DecodeDefinition reads it back.
func (d Definition) Encode() ([]byte, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	v := reflect.ValueOf(d)
	b, err := json.Marshal(canonical(v))
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", d.Name, err)
	}
	if len(b) > maxText {
		return nil, fmt.Errorf("definition %s has %d bytes, more than %d: put files into the release", d.Name, len(b), maxText)
	}
	return b, nil
}

// Check says what is wrong with a definition: nil if subscriptions can use it.
// Errors are [*FieldError] without a place, joined.
func (d Definition) Check() error { return joinFields(d.check()) }

func (d Definition) check() []*FieldError {
	var errs []*FieldError
	add := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	switch {
	case d.Name == "":
		add("name", "is missing: use a-z, 0-9 and -, a letter first")
	case !ValidName(d.Name):
		add("name", "%q is no name: use a-z, 0-9 and -, a letter first", clip(d.Name))
	}
	for _, t := range []struct {
		field, text string
		most        int
	}{{"description", d.Description, maxDescription}, {"version", d.Version, maxVersion}} {
		if len(t.text) > t.most || !utf8.ValidString(t.text) || strings.ContainsRune(t.text, 0) {
			add(t.field, "it is longer than %d bytes, or no text", t.most)
		}
	}
	if d.Folder != "" {
		if err := checkFolder(d.Folder); err != nil {
			add("folder", "%w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		errs = append(errs, d.Settings[name].check("settings["+name+"]", name)...)
	}
	return append(errs, d.checkPlan()...)
}

// checkPlan tries the plan with the settings' defaults.
func (d Definition) checkPlan() []*FieldError {
	values := map[string]string{}
	for name, s := range d.Settings {
		values[name] = s.Default
	}
	var errs []*FieldError
	for i, r := range d.Plan.Processes {
		if len(r.Args) > 0 && usesSetting(r.Args[0]) {
			errs = append(errs, &FieldError{Field: fmt.Sprintf("plan.processes[%d].args[0]", i), Err: errors.New("a setting does not choose the program: write it down")})
		}
	}
	p, err := d.Plan.withSettings(values)
	if errs = append(errs, fieldErrors("plan.", err)...); len(errs) > 0 {
		return errs
	}
	if len(p.Ports) == 0 {
		return []*FieldError{{Field: "plan.ports", Err: errors.New("there is none: a cartridge answers on at least one port")}}
	}
	p.V, p.Cartridge = PlanVersion, "x" // its name has been looked at
	return fieldErrors("plan.", p.Check())
}

// Type returns the cartridge type, a copy of what the definition says now. Its
// plans depend on their input only, and on nothing of the release.
func (d Definition) Type() Type {
	d.Plan, d.Settings = d.Plan.clone(), maps.Clone(d.Settings)
	return defined{d}
}

// defined is a definition as a type.
type defined struct{ d Definition }

var _ Foldered = defined{}

func (t defined) Name() string   { return t.d.Name }
func (t defined) Folder() string { return t.d.Folder }

func (t defined) Plan(in Input) (Plan, error) {
	values, err := t.d.values(in.Settings)
	if err != nil {
		return Plan{}, err
	}
	if _, ok := in.Env["PORT"]; ok {
		return Plan{}, errors.New("env PORT: the platform chooses the port: remove the variable")
	}
	if err := CheckEnv(in.Env); err != nil {
		return Plan{}, err
	}
	p, err := t.d.Plan.withSettings(values)
	if err != nil {
		return Plan{}, err
	}
	p.V, p.Cartridge = PlanVersion, t.d.Name
	for i := range p.Processes {
		addEnv(&p.Processes[i].Env, in.Env)
	}
	for i := range p.Hooks {
		addEnv(&p.Hooks[i].Run.Env, in.Env)
	}
	return p, p.Check()
}

// addEnv adds a subscription's variables to those of a process.
func addEnv(to *map[string]string, env map[string]string) {
	if *to == nil {
		*to = map[string]string{}
	}
	for k, v := range env {
		(*to)[k] = Literal(v)
	}
}

// canonical is what stands for a value in JSON: like the fields' own, but
// without those that are empty, and with times and modes as people write them.
func canonical(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case uint32:
		return fmt.Sprintf("0%o", x)
	}
	switch v.Kind() {
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			f := v.Field(i)
			empty := f.IsZero() || (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0
			if !empty && !slices.Contains(planOwn[:], v.Type().Name()+"."+name) {
				fields[name] = canonical(f)
			}
		}
		return fields
	case reflect.Slice:
		items := make([]any, v.Len())
		for i := range items {
			items[i] = canonical(v.Index(i))
		}
		return items
	case reflect.Map:
		entries := map[string]any{}
		for _, k := range v.MapKeys() {
			entries[k.String()] = canonical(v.MapIndex(k))
		}
		return entries
	}
	return v.Interface()
}

// Standalone implements [Standalone]: what does not read its release needs none.
func (t defined) Standalone() bool {
	reads := false
	p := t.d.Plan.clone()
	_ = p.templates(func(_ slot, text string) (string, error) { // fails never
		reads = reads || strings.Contains(text, "{{.Release}}")
		return text, nil
	})
	return !reads
}
