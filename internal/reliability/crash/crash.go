// Package crash kills a process that writes to a store, again and again, and
// tells what the store kept of what the process had been told.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"

	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/store"
)

// Defaults.
const (
	defaultRounds = 30
	defaultAcks   = 600
)

// Options say what is killed.
type Options struct {
	// Writer is the process that opens the store and calls [ledger.Write] with
	// run on its standard output. It is killed.
	Writer func(ctx context.Context, run string) *exec.Cmd
	// Open opens the same store after the process is gone; Run closes it.
	Open func() (store.Store, error)
	// Rounds is how often. Default: 30.
	Rounds int
	// Acks is the number of acknowledgements before which, at a random moment,
	// the kill comes. Default: 600.
	Acks int
	// Seed decides the moments.
	Seed uint64
}

// Result says what was kept.
type Result struct {
	Rounds       int
	Acknowledged int // transactions
	Lost         int // of them
	Torn         int // transactions of which half is there
}

// Run kills and looks. A store that cannot be opened again is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Rounds == 0 {
		o.Rounds = defaultRounds
	}
	if o.Acks == 0 {
		o.Acks = defaultAcks
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	var r Result
	var l ledger.Ledger
	for r.Rounds < o.Rounds {
		n, err := kill(o.Writer(ctx, fmt.Sprintf("round%d", r.Rounds)), &l, 1+random.IntN(o.Acks))
		if err == nil {
			err = check(ctx, o.Open, &l, &r)
		}
		if err != nil {
			return r, fmt.Errorf("round %d of seed %d: %w", r.Rounds, o.Seed, err)
		}
		r.Rounds++
		r.Acknowledged += n
	}
	return r, nil
}

// kill starts a writer, kills it after a number of acknowledgements, and takes
// all that it said to the ledger.
func kill(cmd *exec.Cmd, l *ledger.Ledger, after int) (int, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n, err := l.Read(&killer{r: out, lines: after, kill: cmd.Process.Kill})
	if err != nil {
		return n, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) || killed.Exited() {
		return n, fmt.Errorf("the writer ended before it was killed (%v): %s", err, stderr.String())
	}
	return n, nil
}

// killer calls kill when it has seen a number of lines.
type killer struct {
	r     io.Reader
	lines int
	kill  func() error
}

func (k *killer) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	if k.lines > 0 {
		if k.lines -= bytes.Count(b[:n], []byte("\n")); k.lines <= 0 {
			return n, errors.Join(err, k.kill())
		}
	}
	return n, err
}

func check(ctx context.Context, open func() (store.Store, error), l *ledger.Ledger, r *Result) error {
	s, err := open()
	if err != nil {
		return err
	}
	a, err := l.Check(ctx, s)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	r.Lost += a.Lost
	r.Torn = a.Torn
	return nil
}
