// Package powercut cuts the power of a disk under a process that writes to a
// store, again and again, and tells what the store kept of what the process
// had been told. What a power cut leaves is modelled by package lossyfs.
package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/internal/reliability/powercut/lossyfs"
	"github.com/gostratos/stratos/store"
)

// Defaults.
const (
	defaultRounds     = 30
	defaultOperations = 3000
)

// Options say what loses its power.
type Options struct {
	// Dir is an empty folder for the mount and for copies.
	Dir string
	// Writer is the process that opens the store in a folder and calls
	// [ledger.Write] with run on its standard output. It is killed.
	Writer func(ctx context.Context, dir, run string) *exec.Cmd
	// Open opens the store in a folder; Run closes it.
	Open func(dir string) (store.Store, error)
	// Rounds is how often. Default: 30.
	Rounds int
	// Operations is the number of writes and syncs of the disk before which, at
	// a random moment, the power goes. Default: 3 000.
	Operations int
	// Seed decides the moments, and what is left of what was not synced.
	Seed uint64
	// IgnoreSync is the control: on a disk that lies about its syncs, every
	// store must lose something, else nothing is measured.
	IgnoreSync bool
}

// Result says what was kept.
type Result struct {
	Rounds       int
	Acknowledged int   // transactions
	Lost         int   // of them
	Torn         int   // transactions of which half was there after a cut
	Unreadable   int   // rounds after which the store could not be opened: all of it is lost
	Why          error // why it could not be opened, the first time
}

// Run cuts and looks.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Rounds == 0 {
		o.Rounds = defaultRounds
	}
	if o.Operations == 0 {
		o.Operations = defaultOperations
	}
	c := &cutter{Options: o, random: rand.New(rand.NewPCG(o.Seed, 0))}
	c.newDisk()
	for c.result.Rounds < o.Rounds {
		if err := c.round(ctx); err != nil {
			return c.result, fmt.Errorf("round %d of seed %d: %w", c.result.Rounds, o.Seed, err)
		}
		c.result.Rounds++
	}
	return c.result, nil
}

// cutter is one run.
type cutter struct {
	Options
	random *rand.Rand
	disk   *lossyfs.Disk
	ledger ledger.Ledger
	result Result
}

func (c *cutter) newDisk() {
	c.disk = lossyfs.New(c.random.Uint64())
	c.disk.IgnoreSync = c.IgnoreSync
}

func (c *cutter) round(ctx context.Context) error {
	mount := filepath.Join(c.Dir, "disk")
	if err := os.MkdirAll(mount, 0o700); err != nil {
		return err
	}
	c.disk.CutAfter(1 + c.random.IntN(c.Operations))
	unmount, err := c.disk.Mount(mount)
	if err != nil {
		return err
	}
	err = c.write(c.Writer(ctx, mount, fmt.Sprintf("round%d", c.result.Rounds)))
	if err = errors.Join(err, unmount()); err != nil {
		return err
	}
	return c.check(ctx)
}

// write lets a process write until the power goes, and then kills it: a
// process does not survive a power cut either. What it was told before, counts.
func (c *cutter) write(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-c.disk.Off():
		case <-ended:
		}
		_ = cmd.Process.Kill() // it may be gone already
	}()
	n, err := c.ledger.Read(out)
	c.result.Acknowledged += n
	close(ended)
	<-killed
	_ = cmd.Wait() // killed, or an error of the disk without power
	select {
	case <-c.disk.Off():
		return err
	default:
		return errors.Join(err, fmt.Errorf("the writer ended while there was power: %s", stderr.String()))
	}
}

// check opens a copy of what the disk holds. Not the disk itself: a process
// that maps files which it serves itself would wait for itself.
func (c *cutter) check(ctx context.Context) error {
	dir, err := os.MkdirTemp(c.Dir, "copy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := c.disk.Copy(dir); err != nil {
		return err
	}
	s, err := c.Open(dir)
	var a ledger.Account
	if err == nil {
		a, err = c.ledger.Check(ctx, s)
		err = errors.Join(err, s.Close())
	}
	if err != nil && ctx.Err() == nil {
		c.result.Unreadable++
		if c.result.Why == nil {
			c.result.Why = err
		}
		c.result.Lost += c.ledger.Forget()
		c.newDisk()
		return nil
	}
	c.result.Lost += a.Lost
	c.result.Torn = max(c.result.Torn, a.Torn)
	return err
}
