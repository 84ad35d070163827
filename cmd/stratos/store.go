package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/cmd/stratos/internal/config"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/etcd"
)

// storeFile is the file of the records in a data folder.
const storeFile = "stratos.db"

func newStore() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Back up and restore the records",
		Long: `Back up and restore the records: what tenants wish for, the members, the intents.

Records in a file of the data folder, which is the default, are copied by backup,
while serve runs or not, and restored by restore, while it does not. Records in
etcd are copied by etcdctl snapshot save, and restored by etcdutl snapshot
restore, after which raise-generation is run once.

The records alone are not enough: keep the master key and the releases, too (see
docs/operating.md).`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newStoreBackup(), newStoreRestore(), newStoreRaise())
	return c
}

// dataFolder says which data folder a command is about.
type dataFolder struct{ config, dir string }

func (d *dataFolder) register(c *cobra.Command) {
	c.Flags().StringVarP(&d.config, "config", "c", "", "the `file` that serve is started with")
	c.Flags().StringVar(&d.dir, "dir", "", "the data `folder`, in place of the one that --config names")
}

// store returns the path of the records' file.
func (d *dataFolder) store() (string, error) {
	if d.dir != "" {
		return filepath.Join(d.dir, storeFile), nil
	}
	if d.config == "" {
		return "", errors.New("no data folder: give --config FILE, or --dir FOLDER")
	}
	f, err := config.Load(d.config)
	if err != nil {
		return "", err
	}
	if f.Store != nil {
		return "", fmt.Errorf("%s keeps the records in etcd: use etcdctl snapshot save, and etcdutl snapshot restore", d.config)
	}
	return filepath.Join(f.DataDir(), storeFile), nil
}

func newStoreRestore() *cobra.Command {
	var folder dataFolder
	c := &cobra.Command{
		Use:   "restore {--config FILE | --dir FOLDER} BACKUP",
		Short: "Make the records of a backup, in a data folder that has none",
		Long: `Make the records of a backup, in a data folder that has none.

The backup is checked first, and stays as it is. The store that is made of it is
of a higher generation: everybody who remembers more than the backup forgets it.

What was launched after the backup belongs to no member then. Those instances
are not ended until an operator agrees: "stratos holds" lists them, and
"stratos holds release orphans" lets them go.`,
		Example: "  stratos store restore --dir stratos.data stratos-2026-11-23.db",
		Args:    oneArgument("the backup"),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := folder.store()
			if err != nil {
				return err
			}
			if err := restore(c.Context(), args[0], path); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is made of %s; start serve, then see \"stratos holds\"\n", path, args[0])
			return err
		},
	}
	folder.register(c)
	return c
}

// restore makes the store at path, which is not there, of a backup.
func restore(ctx context.Context, from, path string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no backup at %s", from)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("there are records at %s, and they are not overwritten: with serve stopped, move the file away", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return bolt.Restore(ctx, from, path)
}

func newStoreRaise() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "raise-generation --config FILE",
		Short: "Accept an etcd cluster that was restored from a snapshot, once",
		Long: `Accept an etcd cluster that was restored from a snapshot, once.

A snapshot forgets what was acknowledged after it was taken. Every serve notices,
and refuses to start. With all of them stopped, run this once: everybody who
remembers more forgets it. It contacts etcd as the file says.

What was launched after the snapshot belongs to no member then. Those instances
are not ended until an operator agrees: see "stratos holds".`,
		Example: "  stratos store raise-generation --config stratos.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			id, err := raise(c.Context(), file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "store %s is of generation %d now; start every serve, then see \"stratos holds\"\n", id.UUID, id.Generation)
			return err
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "the `file` that serve is started with")
	return c
}

func raise(ctx context.Context, file string) (store.ID, error) {
	if file == "" {
		return store.ID{}, errors.New("no configuration: give --config FILE, the one that serve is started with")
	}
	f, err := config.Load(file)
	if err != nil {
		return store.ID{}, err
	}
	cluster, err := f.EtcdConfig(nil)
	if err != nil {
		return store.ID{}, err
	}
	if cluster == nil {
		return store.ID{}, fmt.Errorf("%s keeps the records in a file: \"stratos store restore\" raises its generation by itself", file)
	}
	return etcd.RaiseGeneration(ctx, *cluster)
}

// oneArgument wants one argument, and says what it is.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("give one argument, %s; see \"%s --help\"", what, c.CommandPath())
		}
		return nil
	}
}
