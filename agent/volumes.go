package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cartridge"
)

// volumeEnv begins the variables that mark the processes which use a volume:
// the name of the volume in capitals follows, the value is its folder.
const volumeEnv = "STRATOS_VOLUME_"

// volumes are the folders of a plan that outlive its member. Beside each is a
// lock: exclusive volumes are held alone, the others with who holds them like
// that. Nobody inherits a lock; it ends with the agent, however that ends.
type volumes struct {
	dir   string             // of the subscription; empty: there are no volumes
	all   []cartridge.Volume // by name
	locks []*os.File         // while they are held
}

// newVolumes names the volumes of a plan, below root.
func newVolumes(root string, a wire.Assignment) (*volumes, error) {
	v := &volumes{all: slices.Clone(a.Plan.Volumes)}
	switch {
	case len(v.all) == 0:
		return v, nil
	case root == "":
		return nil, refuse("the plan has volumes, and this instance has no folder to keep them: it takes only plans without")
	case !revisionForm.MatchString(a.Data):
		return nil, refuse("the name %q of the subscription's volumes cannot name a folder", a.Data)
	}
	slices.SortFunc(v.all, func(a, b cartridge.Volume) int { return strings.Compare(a.Name, b.Name) })
	v.dir = filepath.Join(root, a.Data)
	return v, nil
}

func (v *volumes) path(name string) string { return filepath.Join(v.dir, name) }

// folders are the volumes' folders by name.
func (v *volumes) folders() map[string]string {
	dirs := map[string]string{}
	for _, one := range v.all {
		dirs[one.Name] = v.path(one.Name)
	}
	return dirs
}

// marks is what tells the processes that use the volumes.
func (v *volumes) marks() map[string]string {
	env := map[string]string{}
	for name, dir := range v.folders() {
		env[volumeEnv+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = dir
	}
	return env
}

// exclusive reports whether one of the volumes is for one runtime at a time.
func (v *volumes) exclusive() bool {
	return slices.ContainsFunc(v.all, func(o cartridge.Volume) bool { return o.Exclusive })
}

// conflicts reports whether the runtimes of v and o must not run together.
func (v *volumes) conflicts(o *volumes) bool {
	return v.dir == o.dir && slices.ContainsFunc(v.all, func(a cartridge.Volume) bool {
		return slices.ContainsFunc(o.all, func(b cartridge.Volume) bool {
			return a.Name == b.Name && (a.Exclusive || b.Exclusive)
		})
	})
}

// Pauses between the attempts to get a volume that is in use.
const (
	firstVolumeWait = 20 * time.Millisecond
	lastVolumeWait  = 500 * time.Millisecond
)

// await takes the volumes as soon as nobody is in the way, and makes their
// folders. What it waits for goes to waits. The error is ctx's.
func (v *volumes) await(ctx context.Context, waits func(reason string)) error {
	wait, last := backoff{First: firstVolumeWait, Max: lastVolumeWait}, ""
	for {
		err := v.take()
		if err == nil {
			return nil
		}
		if reason := err.Error(); reason != last {
			last = reason
			waits(reason)
		}
		if !wait.Pause(ctx) {
			return ctx.Err()
		}
	}
}

// take takes all volumes, or none.
func (v *volumes) take() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, v.release())
		}
	}()
	if len(v.all) == 0 || v.locks != nil {
		return nil
	}
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return fmt.Errorf("the folder of the volumes: %w", err)
	}
	for _, one := range v.all {
		if err := v.lock(one); err != nil {
			return err
		}
		if err := os.MkdirAll(v.path(one.Name), 0o700); err != nil {
			return fmt.Errorf("volume %q: %w", one.Name, err)
		}
	}
	return nil
}

// clear ends whoever uses a volume that is held alone: what an agent that was
// killed left may live longer than its lock. An error says that the volume
// must not be used yet.
func (v *volumes) clear() error {
	for _, one := range v.all {
		if !one.Exclusive {
			continue
		}
		if err := sweep(v.marksOf(one.Name)); err != nil {
			return fmt.Errorf("volume %q: ending what used it before: %w", one.Name, err)
		}
	}
	return nil
}

// marksOf matches the mark of who uses a volume.
func (v *volumes) marksOf(name string) func(entry string) bool {
	dir := v.path(name)
	return func(entry string) bool {
		rest, ok := strings.CutPrefix(entry, volumeEnv)
		_, value, _ := strings.Cut(rest, "=")
		return ok && value == dir
	}
}

func (v *volumes) lock(one cartridge.Volume) error {
	f, err := os.OpenFile(v.path(one.Name)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the lock of volume %q: %w", one.Name, err)
	}
	how := unix.LOCK_SH
	if one.Exclusive {
		how = unix.LOCK_EX
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return errors.Join(fmt.Errorf("volume %q is in use: waiting until the runtime that has it is gone", one.Name), f.Close())
	case err != nil:
		return errors.Join(fmt.Errorf("the lock of volume %q: %w", one.Name, err), f.Close())
	}
	v.locks = append(v.locks, f)
	return nil
}

// release gives the volumes back. Nothing that uses them runs any more.
func (v *volumes) release() error {
	var errs []error
	if v != nil {
		for _, f := range v.locks {
			errs = append(errs, f.Close())
		}
		v.locks = nil
	}
	return errors.Join(errs...)
}
