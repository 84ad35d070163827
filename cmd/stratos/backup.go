package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
)

// backupFlags say what is backed up, and where to.
type backupFlags struct {
	folder  dataFolder
	control controlFlags
	output  string
	force   bool
}

func newStoreBackup() *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use:   "backup {--control URL --token-file FILE | --config FILE | --dir FOLDER} -o BACKUP",
		Short: "Copy the records to a file, from a serve that runs, or from its data folder",
		Long: `Copy the records to a file, from a serve that runs, or from its data folder.

--control asks a serve that runs, which goes on meanwhile. --config and --dir read
the data folder of one that is stopped: a running serve has it for itself alone.

The copy is of one moment. It is checked, and complete and on the disk when the
command ends, of mode 600; one that was cut off leaves nothing. A file that is
there is not overwritten, unless --force is given, and then only by a whole one.
A serve that runs makes the copy on its own disk first, which takes as much room
there as its records do.

A backup has no secret in the clear, and everything else. Keep it where nobody
reads it, and apart from the master key.`,
		Example: `  stratos store backup --control http://127.0.0.1:8080 --token-file stratos.data/admin.token -o stratos-2026-11-23.db
  stratos store backup --config stratos.yaml -o stratos-2026-11-23.db`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("write -o %s: the file to write is no argument; see \"%s --help\"", args[0], c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			made, err := f.backup(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", f.output, made)
			return err
		},
	}
	f.folder.register(c)
	f.control.register(c, adminToken)
	c.Flags().StringVarP(&f.output, "output", "o", "", "the `file` to write")
	c.Flags().BoolVar(&f.force, "force", false, "overwrite the file if it is there")
	return c
}

// backup makes the file, and says what it is of.
func (f *backupFlags) backup(ctx context.Context, progress io.Writer) (string, error) {
	online := len(f.control.urls) > 0 || f.control.tokenFile != "" || f.control.authority != ""
	switch {
	case f.output == "":
		return "", errors.New("no file to write: give -o FILE")
	case online && f.folder != (dataFolder{}):
		return "", errors.New("back up either a serve that runs (--control) or a data folder (--config, --dir), not both")
	case !online && f.folder == (dataFolder{}):
		return "", errors.New("nothing to back up: give --control URL of a serve that runs, or --config FILE or --dir FOLDER of one that is stopped")
	}
	out, err := newOutput(f.output, f.force)
	if err != nil {
		return "", err
	}
	defer out.discard()
	if online {
		return f.download(ctx, out, progress)
	}
	return f.copyFolder(ctx, out)
}

// download asks a control plane that runs.
func (f *backupFlags) download(ctx context.Context, out *output, progress io.Writer) (string, error) {
	api, err := f.control.client()
	if err != nil {
		return "", err
	}
	b, err := api.Backup(ctx)
	if err != nil {
		return "", f.control.explain(err)
	}
	defer b.Close() // read to its end or given up
	file, err := out.create()
	if err != nil {
		return "", err
	}
	told := newProgress(progress, b.Size)
	_, err = io.Copy(io.MultiWriter(file, told), b)
	told.end()
	if errors.Is(err, client.ErrIncomplete) {
		err = fmt.Errorf("%w; %s is not made", err, f.output)
	}
	if err = errors.Join(err, out.finish(file, err)); err != nil {
		return "", err
	}
	uuid, generation, _ := strings.Cut(b.Store, ".")
	return describe(uuid, generation, b.Size), nil
}

// copyFolder copies the records of a data folder that nobody uses.
func (f *backupFlags) copyFolder(ctx context.Context, out *output) (string, error) {
	path, err := f.folder.store()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there are no records at %s: is the folder right?", path)
	}
	s, err := bolt.Open(path, nil)
	if errors.Is(err, store.ErrInUse) {
		return "", fmt.Errorf("%s is in use: ask the serve that runs, with --control URL, or stop it: %w", path, err)
	}
	if err != nil {
		return "", err
	}
	id, err := s.ID(ctx)
	if err == nil {
		err = s.Backup(ctx, out.part)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return "", err
	}
	info, err := os.Stat(out.part)
	if err != nil {
		return "", err
	}
	if err := out.place(); err != nil {
		return "", err
	}
	return describe(id.UUID, strconv.FormatInt(id.Generation, 10), info.Size()), nil
}

// describe says what a backup is of.
func describe(uuid, generation string, size int64) string {
	return fmt.Sprintf("store %s, generation %s, %s", uuid, generation, inBytes(size))
}
