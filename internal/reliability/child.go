package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gostratos/stratos/internal/reliability/ledger"
	"github.com/gostratos/stratos/internal/reliability/remote"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// childArg is the first argument of the processes that are killed: this
// program, as another.
const childArg = "child"

const (
	childWrites = "writes" // FILE RUN: writes to bolt, and says what was acknowledged
	childServes = "serves" // FILE SOCKET: serves bolt to other processes
	childLeads  = "leads"  // ENDPOINTS ID: leads over etcd

	ledgerWriters = 8
)

// child is this program as another, which does not outlive it.
func (b *bench) child(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.program, append([]string{childArg}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// child does what a child is told, until it is killed.
func child(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("a child wants a task and two arguments, and has %q", args)
	}
	switch args[0] {
	case childLeads:
		return leadAndWrite(ctx, strings.Split(args[1], ","), args[2])
	case childWrites, childServes:
	default:
		return fmt.Errorf("%q is no task of a child", args[0])
	}
	s, err := openBolt(args[1])
	if err != nil {
		return err
	}
	if args[0] == childWrites {
		return ledger.Write(ctx, s, os.Stdout, args[2], ledgerWriters)
	}
	l, err := net.Listen("unix", args[2])
	if err != nil {
		return err
	}
	return remote.Serve(l, s)
}

// openBolt opens a store that compacts all the time.
func openBolt(path string) (store.Store, error) {
	return bolt.Open(path, &bolt.Options{KeepRevisions: 50, KeepFor: 1})
}

// storeFile is the store in a folder.
func storeFile(dir string) string { return filepath.Join(dir, "store.db") }
