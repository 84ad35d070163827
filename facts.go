package stratos

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gostratos/stratos/cartridge"
)

// facts are what the deriver has to know of a plan. They stand in the record
// of the release, so that no plan is read for them.
type facts struct {
	HTTP      bool   `json:"http,omitempty"`      // it answers requests
	Exclusive bool   `json:"exclusive,omitempty"` // one member at a time
	Provides  string `json:"provides,omitempty"`  // the scheme of its service
	Port      string `json:"port,omitempty"`      // of its service, by name
}

// noteOf says what of a plan stays in its release's record.
func noteOf(text []byte) (json.RawMessage, error) {
	plan, err := cartridge.DecodePlan(text)
	if err != nil {
		return nil, err
	}
	plan = plan.WithDefaults()
	f := facts{Exclusive: plan.Exclusive()}
	f.HTTP = slices.ContainsFunc(plan.Ports, func(p cartridge.Port) bool { return p.Protocol != "tcp" })
	if s := plan.Service; s != nil {
		f.Provides, f.Port = s.Scheme, s.Port
	}
	return json.Marshal(f)
}

// factsOf reads a note. A release that was made before there were notes is one
// that answers requests.
func factsOf(note json.RawMessage) (facts, error) {
	if len(note) == 0 {
		return facts{HTTP: true}, nil
	}
	var f facts
	if err := json.Unmarshal(note, &f); err != nil {
		return f, fmt.Errorf("the note of a release: %w", err)
	}
	return f, nil
}
