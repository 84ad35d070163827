// Package local is the cloud that every machine has: its own processes.
//
// An instance is a folder and an agent that runs in it. The agent is the
// flavour's own executable, started again from a copy, so the program calls
// [Main] first in its main function. Agents are no helpers of the process that
// launched them: they live in sessions of their own, outlive it, and are found
// again by the next one.
//
// # One folder, one agent
//
// An instance exists from the moment its folder is renamed into place, whole,
// under the request's name; that is the claim, and it survives a crash at any
// step. An agent must then take a lock in the folder, which only one can hold
// and which the kernel gives back when it dies, however it dies. So launching
// again after a crash starts the agent that is missing, and never a second one.
//
//	Dir/bin/<sha256>        the executable that agents run
//	Dir/instances/<name>/   spec.json, user-data, lock, pid.json, agent.log,
//	                        terminate (asked to end, since its time), agent/
//	Dir/ended/<name>        the tokens of what was terminated, for a day
//	Dir/tmp/                folders being made or removed
//
// # What it needs
//
// Linux with /proc. Under systemd a unit needs KillMode=process, else
// restarting it ends the agents too. In a container the first process must be
// an init that reaps orphans.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/gostratos/stratos/cloud"
)

var (
	_ cloud.Driver  = (*Driver)(nil)
	_ cloud.Opener  = (*Driver)(nil)
	_ cloud.Capable = (*Driver)(nil)
)

// Driver launches instances on this machine. Its fields are set before Open;
// its methods may be called concurrently. It keeps no goroutine.
type Driver struct {
	// Dir holds everything. Several processes of this machine may use it at the
	// same time, such as the replicas of one control plane, if they see each
	// other in /proc. Default: what Open is given.
	Dir string
	// Address is where its instances are reached. With one that is not loopback
	// their ports take mutual TLS only, and the user-data must have the
	// platform's CA. Default 127.0.0.1.
	Address string
	// Wrap is put before the command that starts an instance's agent, such as
	// "ip", "netns", "exec", "blue". It must become the agent, or stay until
	// that ends, and pass on file descriptor 3. Default: nothing.
	Wrap []string
	// Env is added to the agents' clean environment (PATH, HOME, LANG,
	// TMPDIR), as "KEY=value".
	Env []string
	// Grace is how long an agent that is told to end may take to end its
	// runtime, before both are killed. Default 30 s.
	Grace time.Duration
	// Log is told of what cannot be returned. Default: nothing is logged.
	Log *slog.Logger

	mu       sync.Mutex
	root     string    // Dir, absolute and without symbolic links; empty before Open
	binary   string    // what agents are started from
	children []process // agents that this process started, and must reap
	pruned   time.Time // when old names were last forgotten
}

var errClosed = errors.New("the local cloud is not open: call Open first")

// Capabilities are a unique folder name and a list without any lag.
func (d *Driver) Capabilities() cloud.Capabilities {
	return cloud.Capabilities{Idempotency: cloud.ByName}
}

// Open makes the folders and puts a copy of this program in place. It fails if
// the program did not call [Main].
func (d *Driver) Open(ctx context.Context, dir string) error {
	if !mainCalled.Load() {
		return errors.New("call local.Main() first in main: agents are this program, started again")
	}
	if _, err := self(); err != nil {
		return fmt.Errorf("the local cloud needs Linux with /proc: %w", err)
	}
	if d.Dir != "" {
		dir = d.Dir
	}
	if err := d.checkPlace(); err != nil {
		return err
	}
	root, err := makeRoot(dir)
	if err != nil {
		return err
	}
	binary, err := install(ctx, filepath.Join(root, "bin"))
	if err != nil {
		return fmt.Errorf("copying this program for its agents: %w", err)
	}
	d.mu.Lock()
	d.root, d.binary = root, binary
	d.mu.Unlock()

	if err := d.removeBinaries(root, binary); err != nil {
		return fmt.Errorf("removing former copies of this program: %w", err)
	}
	d.forget(time.Now())
	return d.removeLeftovers(root, time.Now())
}

// checkPlace checks where instances shall be.
func (d *Driver) checkPlace() error {
	if d.Address != "" {
		if _, err := netip.ParseAddr(d.Address); err != nil {
			return fmt.Errorf("the address of instances: %w: set Address to an IP address of this machine", err)
		}
	}
	if len(d.Wrap) > 0 {
		if _, err := exec.LookPath(d.Wrap[0]); err != nil {
			return fmt.Errorf("what agents are started with: %w: install %s, or change Wrap", err, d.Wrap[0])
		}
	}
	return nil
}

// makeRoot makes the folders, for nobody but this user, and returns the one
// name that agents, also those of former runs, know dir by.
func makeRoot(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("the local cloud has no folder: set Dir")
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return "", err
	}
	for _, name := range []string{"bin", "instances", "ended", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			return "", err
		}
	}
	return root, nil
}

// removeLeftovers removes what a crash left in tmp. Young ones may be another
// call's work.
func (d *Driver) removeLeftovers(root string, now time.Time) error {
	tmp := filepath.Join(root, "tmp")
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if i, err := e.Info(); err != nil || now.Sub(i.ModTime()) < 10*time.Minute {
			continue // gone already, or young
		}
		if err := removeTree(filepath.Join(tmp, e.Name())); err != nil {
			d.log().Warn("a leftover of an ended instance stays", "path", filepath.Join(tmp, e.Name()), "err", err)
		}
	}
	return nil
}

// at returns the root, or an error before Open.
func (d *Driver) at() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.root == "" {
		return "", errClosed
	}
	return d.root, nil
}

func (d *Driver) grace() time.Duration {
	if d.Grace > 0 {
		return d.Grace
	}
	return 30 * time.Second
}

func (d *Driver) log() *slog.Logger {
	if d.Log != nil {
		return d.Log
	}
	return slog.New(slog.DiscardHandler)
}
