package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

// writtenKey is what a leader writes.
func writtenKey(id string) string { return "written/" + id }

// leadAndWrite leads, and writes with its guard, whatever it is told about its
// lease: an old leader that does not know that it is one. It says what happens.
func leadAndWrite(ctx context.Context, endpoints []string, id string) error {
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: endpoints})
	if err != nil {
		return err
	}
	l, err := store.Campaign(ctx, s, election, id, ttl)
	if err != nil {
		return err
	}
	fmt.Println("leads")
	for n := 0; ; n++ {
		_, err := s.Commit(ctx, store.Txn{
			If:   []store.Cond{l.Guard()},
			Then: []store.Op{{Key: writtenKey(id), Value: fmt.Append(nil, n)}},
		})
		var fenced *store.FencedError
		switch {
		case err == nil:
			fmt.Println("wrote")
		case errors.As(err, &fenced):
			fmt.Println("refused")
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// rival is a process that leads.
type rival struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startRival(cmd *exec.Cmd) (*rival, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &rival{cmd: cmd, lines: bufio.NewScanner(out)}, cmd.Start()
}

// hear reads lines until one says what.
func (r *rival) hear(what string) error {
	for r.lines.Scan() {
		if r.lines.Text() == what {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("the rival ended before it said %q", what), r.lines.Err())
}

func (r *rival) kill() {
	_ = r.cmd.Process.Kill() // it may be gone
	_ = r.cmd.Wait()
}
