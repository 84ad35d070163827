package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gostratos/stratos/cloud"
)

// List reads the folders. On its way it finishes what Terminate began, so that
// a terminated instance goes away however often Terminate is called.
func (d *Driver) List(ctx context.Context, owner cloud.Owner) ([]cloud.Instance, error) {
	root, err := d.at()
	if err != nil {
		return nil, err
	}
	d.reap()
	folders, err := folders(root)
	if err != nil {
		return nil, err
	}
	var all []cloud.Instance
	for _, f := range folders {
		if err := ctx.Err(); err != nil {
			return nil, err // part of a list is a lie
		}
		d.goOn(ctx, root, f)
		c, err := f.claim()
		if errors.Is(err, fs.ErrNotExist) {
			continue // terminated meanwhile
		}
		if err != nil {
			return nil, err
		}
		if c.Tags[cloud.TagOwner] != string(owner) {
			continue
		}
		i, err := f.instance(c)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// goOn takes the next step of a termination, if there is one.
func (d *Driver) goOn(ctx context.Context, root string, f folder) {
	_, ending, err := f.ending()
	if err == nil && ending {
		err = d.terminate(ctx, root, f)
	}
	if err != nil {
		d.log().Warn("an instance does not end", "instance", f.name(), "err", err)
	}
}

// folders lists the instances' folders. Hidden names are none of ours.
func folders(root string) ([]folder, error) {
	entries, err := os.ReadDir(filepath.Join(root, "instances"))
	if err != nil {
		return nil, err
	}
	var all []folder
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			all = append(all, folder(filepath.Join(root, "instances", e.Name())))
		}
	}
	return all, nil
}
