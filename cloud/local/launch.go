package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/gostratos/stratos/agent/wire"
	"github.com/gostratos/stratos/cloud"
)

// Launch makes the instance's folder, which claims its name, and starts its
// agent; it returns when the agent holds the folder's lock. Repeated, it
// starts an agent that never came up, and returns what is there otherwise,
// also when that has ended: an instance runs once. Spec.Image and Spec.Size
// mean nothing here.
func (d *Driver) Launch(ctx context.Context, s cloud.Spec) (cloud.Instance, error) {
	root, err := d.at()
	if err != nil {
		return cloud.Instance{}, err
	}
	d.reap()
	f, ok := instanceFolder(root, s.Name)
	if !ok {
		return cloud.Instance{}, fmt.Errorf("%w: the name %q is not 1 to 128 letters, digits, dots, hyphens and underscores that begin with a letter or digit", cloud.ErrRejected, s.Name)
	}
	c, err := d.newClaim(s)
	if err != nil {
		return cloud.Instance{}, err
	}
	c, err = d.claim(ctx, root, f, c, s.UserData)
	if errors.Is(err, errEnded) {
		return c.instance(f.name(), cloud.Gone), nil
	}
	if err != nil {
		return cloud.Instance{}, err
	}
	i, err := d.ensure(ctx, f, c)
	if err == nil || ctx.Err() != nil {
		return i, err
	}
	// Its agent, or the whole folder, may be gone because it was terminated
	// meanwhile, by another call or process.
	_, ending, look := f.ending()
	if look == nil && !ending {
		ending, look = wasEnded(root, f, c.Token)
	}
	if look == nil && ending {
		return c.instance(f.name(), cloud.Gone), nil
	}
	return i, err
}

// newClaim checks a request and writes it down.
func (d *Driver) newClaim(s cloud.Spec) (claim, error) {
	if s.Token == "" {
		return claim{}, fmt.Errorf("%w: instance %s has no token", cloud.ErrRejected, s.Name)
	}
	var data wire.UserData
	if err := json.Unmarshal(s.UserData, &data); err != nil {
		return claim{}, fmt.Errorf("%w: the user-data of instance %s: %w", cloud.ErrRejected, s.Name, err)
	}
	if at, err := netip.ParseAddr(d.Address); err == nil && !at.IsLoopback() && len(data.CA) == 0 {
		return claim{}, fmt.Errorf("%w: instance %s is to be reached at %s, and its user-data has no CA: serve the control plane over https, or leave Address at %s", cloud.ErrRejected, s.Name, d.Address, loopback)
	}
	request, err := digest(s)
	if err != nil {
		return claim{}, fmt.Errorf("%w: instance %s: %w", cloud.ErrRejected, s.Name, err)
	}
	return claim{
		Token: s.Token, Request: request, Partition: s.Partition, Tags: s.Tags, Launched: time.Now().UTC(),
		Address: d.Address, Wrap: d.Wrap,
	}, nil
}

// claim returns the claim that is in the folder, mine or an equal one. The
// error is errEnded if the token's instance was terminated: it is not made
// again.
func (d *Driver) claim(ctx context.Context, root string, f folder, mine claim, userData []byte) (claim, error) {
	ended, err := wasEnded(root, f, mine.Token)
	if err != nil {
		return mine, err
	}
	if ended {
		return mine, errEnded
	}
	there, err := f.claim()
	if errors.Is(err, fs.ErrNotExist) {
		there, err = d.make(ctx, root, f, mine, userData)
	}
	if err != nil {
		return mine, err
	}
	if there.Request != mine.Request {
		return mine, fmt.Errorf("%w: the name %s is taken by another request", cloud.ErrRejected, f.name())
	}
	return there, nil
}

// make renames a whole folder into place. If another call was faster, its
// claim is returned.
func (d *Driver) make(ctx context.Context, root string, f folder, mine claim, userData []byte) (claim, error) {
	tmp, err := os.MkdirTemp(filepath.Join(root, "tmp"), f.name()+".")
	if err != nil {
		return claim{}, err
	}
	if err := folder(tmp).make(mine, userData); err != nil {
		return claim{}, errors.Join(err, removeTree(tmp))
	}
	if err := os.Rename(tmp, string(f)); err != nil {
		if gone := removeTree(tmp); gone != nil || !errors.Is(err, fs.ErrExist) {
			return claim{}, errors.Join(err, gone)
		}
		return f.claim()
	}
	if err := syncDir(filepath.Dir(string(f))); err != nil {
		return claim{}, err
	}
	// A Terminate in between has left its tombstone before the name was free.
	ended, err := wasEnded(root, f, mine.Token)
	if err != nil {
		return claim{}, err
	}
	if ended {
		return mine, errors.Join(errEnded, d.terminate(ctx, root, f))
	}
	return mine, nil
}

// ensure starts the folder's agent unless one did ever come up, or shall not.
func (d *Driver) ensure(ctx context.Context, f folder, c claim) (cloud.Instance, error) {
	_, ending, err := f.ending()
	if err != nil {
		return cloud.Instance{}, err
	}
	if ending {
		return c.instance(f.name(), cloud.Gone), nil
	}
	_, started, err := f.agent()
	if err != nil {
		return cloud.Instance{}, err
	}
	if !started {
		if err := d.start(ctx, f, c.Wrap); err != nil {
			return cloud.Instance{}, fmt.Errorf("instance %s: %w", f.name(), err)
		}
	}
	return f.instance(c)
}
