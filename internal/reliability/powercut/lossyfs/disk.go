// Package lossyfs is a disk that can lose its power, for tests of what claims
// to be durable. It is a FUSE file system with one flat folder, in memory.
//
// When the power goes, what was not synced may be gone: of every file, each
// sector written since its last fsync is as it was then, or as it was written,
// in any mixture, as the caches of real disks leave it; the same holds for its
// size. Names made, replaced or removed since the last fsync of the folder may
// be undone. Sectors themselves are never torn, and what was synced stays.
//
// Modelled are plain files, links and renames; folders, symbolic links and
// writing through a memory map are not.
package lossyfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Disk is what survives: mount it, cut its power, mount it again. Create it
// with [New]; its methods may be called concurrently.
type Disk struct {
	// IgnoreSync makes a disk that lies: it reports a sync that it does not
	// make. It is set before the first use.
	IgnoreSync bool

	mu     sync.Mutex
	random *rand.Rand
	names  map[string]*file // as programs see them
	synced map[string]*file // as of the last sync of the folder
	inodes uint64
	left   int           // operations until the power goes; 0: it does not
	off    chan struct{} // closed when the power went
}

// New returns an empty disk. Seed decides what a power cut leaves.
func New(seed uint64) *Disk {
	return &Disk{
		random: rand.New(rand.NewPCG(seed, 0)),
		names:  make(map[string]*file), synced: make(map[string]*file),
		inodes: 1, off: make(chan struct{}),
	}
}

// CutAfter switches the power on, and off after n more operations that change
// something, a sync being one.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
	d.off = make(chan struct{})
}

// Off is closed when the power went. From then on every operation fails, until
// the next CutAfter.
func (d *Disk) Off() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// Copy writes the files to a folder of another file system.
func (d *Disk) Copy(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.names {
		if err := os.WriteFile(filepath.Join(dir, name), f.data, 0o600); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

// powered says whether there is power.
func (d *Disk) powered() bool {
	select {
	case <-d.off:
		return false
	default:
		return true
	}
}

// change runs an operation that changes something, if there is power for it.
func (d *Disk) change(op func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.powered() {
		return syscall.EIO
	}
	if d.left > 0 {
		if d.left--; d.left == 0 {
			d.cut()
			return syscall.EIO
		}
	}
	return op()
}

// look runs an operation that changes nothing, if there is power for it.
func (d *Disk) look(op func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.powered() {
		return syscall.EIO
	}
	return op()
}

// cut drops what was not synced, more or less of it.
func (d *Disk) cut() {
	if d.random.IntN(2) == 0 {
		d.names = maps.Clone(d.synced)
	}
	keep := float64(d.random.IntN(3)) / 2 // nothing, half, everything
	for _, f := range d.names {
		f.lose(func() bool { return d.random.Float64() < keep })
	}
	d.synced = maps.Clone(d.names)
	close(d.off)
}

// syncNames makes the names durable.
func (d *Disk) syncNames() syscall.Errno {
	if !d.IgnoreSync {
		d.synced = maps.Clone(d.names)
	}
	return 0
}

func (d *Disk) syncFile(f *file) syscall.Errno {
	if !d.IgnoreSync {
		f.sync()
	}
	return 0
}

func (d *Disk) create(name string) (*file, syscall.Errno) {
	if d.names[name] != nil {
		return nil, syscall.EEXIST
	}
	d.inodes++
	f := &file{ino: d.inodes, before: make(map[int][]byte)}
	d.names[name] = f
	return f, 0
}
