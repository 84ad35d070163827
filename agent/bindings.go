package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

// apply brings the service to what the list says: who is not in it any more is
// sent away first. It says how that went.
func (c *caretaker) apply(ctx context.Context, list wire.Bindings) error {
	live := c.duty.live
	err := live.beside(ctx, func(ctx context.Context) error { return live.let(ctx, c.duty.kept, list.All) })
	switch {
	case ctx.Err() != nil || errors.Is(err, errRuntimeEnds):
		return err // there is nothing left to say it of
	case err != nil:
		was := ""
		if c.bound.live == live {
			was = c.bound.id
		}
		c.say(bound{live: live, id: was, reason: err.Error()})
		return err
	}
	c.say(bound{live: live, id: list.ID})
	return nil
}

// let lets all of a list in, and nobody else. It is called within beside. kept is the file that says who
// was let in: it is written before anybody new is, so that nobody is forgotten.
func (r *running) let(ctx context.Context, kept string, all []wire.Binding) error {
	before, err := readAdmitted(kept)
	if err != nil {
		return err
	}
	now := admit(all)
	either := slices.Clone(now)
	var gone []admitted
	for _, a := range before {
		if !slices.ContainsFunc(now, func(n admitted) bool { return n.User == a.User }) {
			gone, either = append(gone, a), append(either, a)
		}
	}
	if err := writeAdmitted(kept, before, either); err != nil {
		return err
	}
	var failed []error
	for _, a := range gone {
		failed = append(failed, r.admission(ctx, "disconnecting", r.plan.Service.Disconnect, cartridge.Binding{User: a.User, Database: a.Database}))
	}
	for _, b := range all {
		failed = append(failed, r.admission(ctx, "connecting", r.plan.Service.Connect, cartridge.Binding(b)))
	}
	if err := first(failed); err != nil {
		return err
	}
	return writeAdmitted(kept, either, now)
}

// admission runs one action of a binding.
func (r *running) admission(ctx context.Context, what string, a cartridge.Action, b cartridge.Binding) error {
	return r.act(ctx, deed{what: fmt.Sprintf("%s %q", what, b.User), action: a, binding: &b})
}

// first is the first of the errors, and how many there are besides.
func first(all []error) error {
	all = slices.DeleteFunc(all, func(err error) bool { return err == nil })
	if len(all) < 2 {
		return errors.Join(all...)
	}
	return fmt.Errorf("%w (and %d more)", all[0], len(all)-1)
}

// admitted is somebody whom a service lets in.
type admitted struct {
	User     string `json:"user"`
	Database string `json:"database,omitempty"`
}

func admit(all []wire.Binding) []admitted {
	var list []admitted
	for _, b := range all {
		list = append(list, admitted{User: b.User, Database: b.Database})
	}
	return list
}

// kept is where the slot notes who was let in: beside the volume, which is
// where the service knows them, or else in the agent's folder.
func (s *slot) kept() string {
	if s.volumes.exclusive() {
		return filepath.Join(s.volumes.dir, "bound.json")
	}
	return filepath.Join(s.home, "bound.json")
}

func readAdmitted(path string) ([]admitted, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("who was let in: %w", err)
	}
	var list []admitted
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s is damaged: write the users who are to be sent away into it, [{\"user\":\"NAME\"}], or remove it if there is none: %w", path, err)
	}
	return list, nil
}

// writeAdmitted writes the list, unless it is what is there.
func writeAdmitted(path string, there, list []admitted) error {
	if slices.Equal(there, list) {
		return nil
	}
	text, err := json.Marshal(list)
	if err == nil {
		err = writeDurably(path, text)
	}
	if err != nil {
		return fmt.Errorf("noting who is let in: %w", err)
	}
	return nil
}
