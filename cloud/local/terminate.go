package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/internal/procfs"
)

// killTimeout is how long killed processes may take to be gone.
const killTimeout = 2 * time.Second

// Terminate asks the agent to end its runtime and itself, and returns. Called
// again (or by List) it removes what is left of an agent that ended, and kills
// one that is still there after Grace, with all that it started.
func (d *Driver) Terminate(ctx context.Context, id cloud.InstanceID) error {
	root, err := d.at()
	if err != nil {
		return err
	}
	d.reap()
	f, ok := instanceFolder(root, string(id))
	if !ok {
		return nil // no instance has such a name
	}
	if err := d.terminate(ctx, root, f); err != nil {
		return fmt.Errorf("instance %s: %w", id, err)
	}
	return nil
}

// terminate takes the next step: ask, kill, remove.
func (d *Driver) terminate(ctx context.Context, root string, f folder) error {
	since, err := f.end()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no folder
	}
	if err != nil {
		return err
	}
	lock, err := tryLock(f.path("lock"))
	if errors.Is(err, errLocked) {
		if age := time.Since(since); 0 <= age && age < d.grace() {
			return f.ask()
		}
		if err := f.kill(ctx); err != nil {
			return err
		}
		lock, err = tryLock(f.path("lock"))
	}
	switch {
	case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist):
		return nil // another call is at it, or was
	case err != nil:
		return err
	}
	// No agent can start now. What an agent leaves when it is killed is
	// beyond asking: nobody is there to wait for it.
	err = f.kill(ctx)
	if err == nil {
		err = d.bury(root, f)
	}
	return errors.Join(err, lock.Close())
}

// ask sends TERM to the agent, if it is up.
func (f folder) ask() error {
	p, started, err := f.agent()
	if err != nil || !started {
		return err
	}
	alive, err := p.alive()
	if err != nil || !alive {
		return err
	}
	return send(procfs.Stat{PID: p.PID, Start: p.Start}, syscall.SIGTERM)
}

// kill ends all processes of the instance, also those that they start
// meanwhile, and returns when two looks have found none: one may miss a
// process that is just becoming another program.
func (f folder) kill(ctx context.Context) error {
	deadline := time.Now().Add(killTimeout)
	found := map[int]procfs.Stat{}
	empty := 0
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		more, err := f.processes()
		if err != nil {
			return err
		}
		for _, s := range more {
			found[s.PID] = s
		}
		if err := killAll(found); err != nil {
			return err
		}
		if len(found) > 0 {
			empty = 0
		} else if empty++; empty == 2 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of its processes do not end, though killed", len(found))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// killAll kills what is found and forgets what has ended. It does not rely on
// finding a process again: one that is dying has no environment any more.
func killAll(found map[int]procfs.Stat) error {
	var errs error
	for pid, s := range found {
		now, ok, err := procfs.Read(pid)
		switch {
		case err != nil:
			errs = errors.Join(errs, err)
		case !ok || now.Start != s.Start:
			delete(found, pid)
		case !now.Runs():
			reap(now)
			delete(found, pid)
		default:
			errs = errors.Join(errs, send(now, syscall.SIGKILL))
		}
	}
	return errs
}

// bury frees the name, at one stroke, and then the disk.
func (d *Driver) bury(root string, f folder) error {
	c, err := f.claim()
	if err != nil {
		return err
	}
	if err := writeEnded(root, f, c.Token); err != nil {
		return err
	}
	d.forget(time.Now())
	grave, err := os.MkdirTemp(filepath.Join(root, "tmp"), f.name()+".ended.")
	if err != nil {
		return err
	}
	if err := os.Rename(string(f), filepath.Join(grave, f.name())); err != nil {
		return errors.Join(err, os.Remove(grave))
	}
	if err := removeTree(grave); err != nil {
		d.log().Warn("the folder of an ended instance stays", "path", grave, "err", err)
	}
	return syncDir(filepath.Dir(string(f)))
}
