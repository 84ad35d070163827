package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/gostratos/stratos/cartridge"
)

// hooks runs the plan's hooks of a moment, one after the other. One that fails
// refuses the release.
func (r *running) hooks(ctx context.Context, moment cartridge.Moment, add func(source, line string)) error {
	for _, h := range r.plan.Hooks {
		if h.On != moment {
			continue
		}
		a := h.Run
		a.Env = maps.Clone(a.Env)
		if a.Env == nil {
			a.Env = map[string]string{}
		}
		a.Env["STRATOS_HOOK"] = cartridge.Literal(string(moment))
		a.Env["STRATOS_REVISION"] = cartridge.Literal(r.site.revision)
		err := r.beside(ctx, func(ctx context.Context) error {
			return r.act(ctx, deed{what: fmt.Sprintf("hook %q", moment), action: a, lines: func(line string) { add("hook", line) }})
		})
		var failed *actionError
		if errors.As(err, &failed) {
			return refuse("%s", failed.reason)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lineWriter hands on whole lines of what is written to it.
type lineWriter struct {
	w    *io.PipeWriter
	done chan struct{}
}

// newLineWriter begins; the caller calls end.
func newLineWriter(add func(line string)) *lineWriter {
	r, w := io.Pipe()
	l := &lineWriter{w: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		readLines(r, add)
	}()
	return l
}

func (l *lineWriter) Write(b []byte) (int, error) { return l.w.Write(b) }

// end takes in what is left.
func (l *lineWriter) end() {
	l.w.Close() // never fails
	<-l.done
}
