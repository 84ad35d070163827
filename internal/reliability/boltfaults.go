package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/internal/reliability/linear"
	"github.com/gostratos/stratos/internal/reliability/remote"
	"github.com/gostratos/stratos/store/bolt"
)

// boltReopened closes and opens the store again and again while clients use it.
func (b *bench) boltReopened(ctx context.Context, dir string, f *figures) error {
	random := rand.New(rand.NewPCG(b.seed, 30))
	reopened := 0
	r, err := b.histories(b.of(10_000, 100_000), func(o linear.Options) (linear.Result, error) {
		path := filepath.Join(dir, fmt.Sprintf("reopened-%d.db", o.Seed))
		first, err := bolt.Open(path, nil)
		if err != nil {
			return linear.Result{}, err
		}
		var now atomic.Pointer[bolt.Store]
		now.Store(first)
		o.Store = func(int) linear.Store { return now.Load() }
		o.Nemesis = func(ctx context.Context) error {
			for pause(ctx, random, 100) {
				if err := now.Load().Close(); err != nil {
					return err
				}
				s, err := bolt.Open(path, nil)
				if err != nil {
					return err
				}
				now.Store(s)
				reopened++
			}
			return nil
		}
		r, err := linear.Run(ctx, o)
		return r, errors.Join(err, now.Load().Close())
	})
	if err != nil {
		return fmt.Errorf("bolt, opened again: %w", err)
	}
	f.add(r.Linearizable && reopened > 0, "bolt, opened again %d times: %d operations ok", reopened, r.Operations)
	return nil
}

// server is a process that serves bolt, again and again.
type server struct {
	b            *bench
	path, socket string
	cmd          *exec.Cmd
	store        atomic.Pointer[remote.Store]
	runs         int
}

// start runs it, and connects.
func (s *server) start(ctx context.Context) error {
	socket := fmt.Sprintf("%s%d", s.socket, s.runs) // a killed process leaves its socket
	s.runs++
	s.cmd = s.b.child(context.WithoutCancel(ctx), childServes, s.path, socket)
	s.cmd.Stderr = s.b.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	limit := time.After(30 * time.Second)
	for {
		c, err := remote.Dial(socket)
		if err == nil {
			s.store.Store(c)
			return nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-limit:
			return errors.Join(fmt.Errorf("a child does not serve: %w", err), s.kill())
		}
	}
}

func (s *server) kill() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	return err
}

// boltKilled kills the process that has the store open while clients use it.
func (b *bench) boltKilled(ctx context.Context, dir string, f *figures) error {
	random := rand.New(rand.NewPCG(b.seed, 31))
	killed := 0
	r, err := b.histories(b.of(10_000, 100_000), func(o linear.Options) (linear.Result, error) {
		name := filepath.Join(dir, fmt.Sprintf("killed-%d", o.Seed))
		s := &server{b: b, path: name + ".db", socket: name + ".sock"}
		if err := s.start(ctx); err != nil {
			return linear.Result{}, err
		}
		o.Store = func(int) linear.Store { return s.store.Load() }
		o.Nemesis = func(ctx context.Context) error {
			for pause(ctx, random, 200) {
				if err := s.kill(); err != nil {
					return err
				}
				killed++
				if err := s.start(ctx); err != nil {
					return err
				}
			}
			return nil
		}
		r, err := linear.Run(ctx, o)
		return r, errors.Join(err, s.kill())
	})
	if err != nil {
		return fmt.Errorf("bolt, killed: %w", err)
	}
	f.add(r.Linearizable && killed > 0, "bolt, killed %d times: %d operations (%d of unknown outcome) ok", killed, r.Operations, r.Unknown)
	return nil
}

// pause waits for a random time of at most so many milliseconds; false if ctx
// ended. When a fault comes, and for how long, is what is tried.
func pause(ctx context.Context, random *rand.Rand, most int) bool {
	select {
	case <-time.After(time.Duration(1+random.IntN(most)) * time.Millisecond):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
