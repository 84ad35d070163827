package cartridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Defaults of a plan's fields.
const (
	DefaultPort     = "http"
	DefaultFileMode = 0o600
	DefaultStart    = 60 * time.Second
	DefaultTimeout  = 5 * time.Second
	DefaultEvery    = 10 * time.Second
	DefaultSignal   = "TERM"
	DefaultGrace    = 10 * time.Second
	DefaultAction   = 30 * time.Second // timeout of an action
	DefaultHook     = 2 * time.Minute  // timeout of a hook
	DefaultTransfer = time.Hour        // timeout of a backup or a restore
)

// WithDefaults returns a deep copy of the plan in which no field is left to
// its default.
func (p Plan) WithDefaults() Plan {
	p = p.clone()
	for i := range p.Ports {
		fallback(&p.Ports[i].Protocol, "http")
	}
	for i := range p.Files {
		fallback(&p.Files[i].Mode, DefaultFileMode)
	}
	for i := range p.Processes {
		fallback(&p.Processes[i].Dir, "{{.Release}}")
	}
	for i := range p.Hooks {
		fallback(&p.Hooks[i].Run.Timeout, DefaultHook)
	}
	h := &p.Health
	fallback(&h.Kind, HealthHTTP)
	fallback(&h.Port, DefaultPort)
	fallback(&h.Start, DefaultStart)
	fallback(&h.Timeout, DefaultTimeout)
	fallback(&h.Every, DefaultEvery)
	if h.Kind == HealthHTTP {
		fallback(&h.Path, "/")
	}
	fallback(&p.Stop.Signal, DefaultSignal)
	fallback(&p.Stop.Grace, DefaultGrace)
	if s := p.Service; s != nil {
		fallback(&s.Port, firstTCP(p.Ports))
		fallback(&s.Connect.Timeout, DefaultAction)
		fallback(&s.Disconnect.Timeout, DefaultAction)
		for _, a := range []*Action{s.Backup, s.Restore} {
			if a != nil {
				fallback(&a.Timeout, DefaultTransfer)
			}
		}
	}
	return p
}

// Exclusive reports whether the plan can run only once at a time.
func (p Plan) Exclusive() bool {
	return slices.ContainsFunc(p.Volumes, func(v Volume) bool { return v.Exclusive })
}

func firstTCP(ports []Port) string {
	for _, p := range ports {
		if p.Protocol == "tcp" {
			return p.Name
		}
	}
	return ""
}

// Encode checks the plan and returns it as JSON: the same bytes for the same
// plan, so that their digest names it.
func (p Plan) Encode() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.Ports == nil {
		p.Ports = []Port{} // a plan without ports has one form only
	}
	return json.Marshal(p)
}

// DecodePlan reads what Encode wrote, and checks it. A plan of another version
// or with a field unknown here is refused: it would be executed wrongly.
func DecodePlan(b []byte) (Plan, error) {
	var v struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Plan{}, fmt.Errorf("plan is not JSON: %w", err)
	}
	if v.V != PlanVersion {
		return Plan{}, fmt.Errorf("plan has version %d, this program reads %d: run the same version on both sides", v.V, PlanVersion)
	}
	var p Plan
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Plan{}, errors.New("plan: there is more after its end")
	}
	return p, p.Check()
}

// clone copies what p points to.
func (p Plan) clone() Plan {
	p.Build = slices.Clone(p.Build)
	for i, c := range p.Build {
		p.Build[i].Args, p.Build[i].Env = slices.Clone(c.Args), maps.Clone(c.Env)
	}
	p.Programs = slices.Clone(p.Programs)
	for i, g := range p.Programs {
		p.Programs[i].Names = slices.Clone(g.Names)
	}
	p.Ports, p.Files = slices.Clone(p.Ports), slices.Clone(p.Files)
	p.Dirs, p.DataDirs = slices.Clone(p.Dirs), slices.Clone(p.DataDirs)
	p.Logs = slices.Clone(p.Logs)
	p.Volumes, p.Secrets, p.Links = slices.Clone(p.Volumes), slices.Clone(p.Secrets), slices.Clone(p.Links)
	for i, v := range p.Volumes {
		p.Volumes[i].Dirs = slices.Clone(v.Dirs)
	}
	p.Service = p.Service.clone()
	p.Hooks = slices.Clone(p.Hooks)
	for i := range p.Hooks {
		p.Hooks[i].Run = *p.Hooks[i].Run.clone()
	}
	p.Processes = slices.Clone(p.Processes)
	for i, r := range p.Processes {
		p.Processes[i].Args, p.Processes[i].Env = slices.Clone(r.Args), maps.Clone(r.Env)
	}
	return p
}

func (s *Service) clone() *Service {
	if s == nil {
		return nil
	}
	c := *s
	c.Connect, c.Disconnect = *s.Connect.clone(), *s.Disconnect.clone()
	c.Backup, c.Restore = s.Backup.clone(), s.Restore.clone()
	return &c
}

func (a *Action) clone() *Action {
	if a == nil {
		return nil
	}
	c := *a
	c.Args, c.Env = slices.Clone(a.Args), maps.Clone(a.Env)
	return &c
}

// fallback sets *v to what it is by default, if it is zero.
func fallback[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
