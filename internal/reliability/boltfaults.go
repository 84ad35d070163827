package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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
	path := filepath.Join(dir, "reopened.db")
	first, err := bolt.Open(path, nil)
	if err != nil {
		return err
	}
	var now atomic.Pointer[bolt.Store]
	now.Store(first)
	random := rand.New(rand.NewPCG(b.seed, 30))
	reopened := 0
	r, err := linear.Run(ctx, linear.Options{
		Store: func(int) linear.Store { return now.Load() },
		Nemesis: func(ctx context.Context) error {
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
		},
		Operations: b.of(10_000, 100_000), Seed: b.seed, Dir: os.TempDir(),
	})
	if err = errors.Join(err, now.Load().Close()); err != nil {
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
	s := &server{b: b, path: filepath.Join(dir, "killed.db"), socket: filepath.Join(dir, "socket")}
	if err := s.start(ctx); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(b.seed, 31))
	r, err := linear.Run(ctx, linear.Options{
		Store: func(int) linear.Store { return s.store.Load() },
		Nemesis: func(ctx context.Context) error {
			for pause(ctx, random, 200) {
				if err := s.kill(); err != nil {
					return err
				}
				if err := s.start(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		Operations: b.of(10_000, 100_000), Seed: b.seed, Dir: os.TempDir(),
	})
	if err = errors.Join(err, s.kill()); err != nil {
		return fmt.Errorf("bolt, killed: %w", err)
	}
	f.add(r.Linearizable && s.runs > 1, "bolt, killed %d times: %d operations (%d of unknown outcome) ok", s.runs-1, r.Operations, r.Unknown)
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
