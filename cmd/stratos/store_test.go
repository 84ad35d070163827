package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/internal/testprograms/etcdserver"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/bolt"
	"github.com/gostratos/stratos/store/etcd"
)

func TestStoreBackupAndRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	s, err := bolt.Open(filepath.Join(dir, storeFile), nil)
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), store.Txn{Then: []store.Op{{Key: "k", Value: []byte("kept")}}})
	require.NoError(t, err)
	before, err := s.ID(t.Context())
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "backup.db")
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	require.NoError(t, os.WriteFile(file, []byte("dir: "+dir+"\n"), 0o600))

	code, _, errs := stratosCommand(t.Context(), "store", "backup", "-o", to, "--config", file)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is in use: ask the serve that runs, with --control URL, or stop it")
	require.NoFileExists(t, to)

	require.NoError(t, s.Close())
	code, out, errs := stratosCommand(t.Context(), "store", "backup", "-o", to, "-config", file)
	require.Zero(t, code, errs)
	require.Contains(t, out, fmt.Sprintf("%s: store %s, generation %d, ", to, before.UUID, before.Generation))
	requireOnly(t, to)

	code, _, errs = stratosCommand(t.Context(), "store", "restore", to, "--dir", dir)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "are not overwritten: with serve stopped, move the file away")

	fresh := filepath.Join(t.TempDir(), "new")
	code, out, errs = stratosCommand(t.Context(), "store", "restore", to, "--dir", fresh)
	require.Zero(t, code, errs)
	require.Contains(t, out, `start serve, then see "stratos holds"`)
	s, err = bolt.Open(filepath.Join(fresh, storeFile), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	after, err := s.ID(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.UUID, after.UUID)
	require.Equal(t, before.Generation+1, after.Generation)
	kv, _, err := s.Get(t.Context(), "k", store.ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, "kept", string(kv.Value))
}

func TestStoreMistakes(t *testing.T) {
	dir := t.TempDir()
	there, junk := filepath.Join(dir, "there"), filepath.Join(dir, "junk")
	for _, path := range []string{there, junk} {
		require.NoError(t, os.WriteFile(path, []byte("no store"), 0o600))
	}
	inFile, inEtcd := filepath.Join(dir, "file.yaml"), filepath.Join(dir, "etcd.yaml")
	require.NoError(t, os.WriteFile(inFile, []byte("dir: "+filepath.Join(dir, "none")+"\n"), 0o600))
	require.NoError(t, os.WriteFile(inEtcd, []byte("blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [\"127.0.0.1:1\"]}}\n"), 0o600))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"back up what", []string{"backup", "-o", "x"}, "nothing to back up: give --control URL of a serve that runs, or --config FILE"},
		{"back up both", []string{"backup", "-o", "x", "--dir", dir, "--control", "http://127.0.0.1:1"}, "not both"},
		{"no file", []string{"backup", "--dir", dir}, "no file to write: give -o FILE"},
		{"the file as an argument", []string{"backup", "--dir", dir, "x"}, "write -o x: "},
		{"the file is there", []string{"backup", "--dir", dir, "-o", there}, there + " is there, and is not overwritten: choose another name, or give --force"},
		{"the file is a folder", []string{"backup", "--dir", dir, "-o", dir, "--force"}, dir + " is there, and is no file"},
		{"no such folder", []string{"backup", "--dir", dir, "-o", filepath.Join(dir, "nowhere", "x")}, "no such file or directory"},
		{"no records", []string{"backup", "--config", inFile, "-o", filepath.Join(dir, "x")}, "there are no records at " + filepath.Join(dir, "none", storeFile)},
		{"records in etcd", []string{"backup", "--config", inEtcd, "-o", filepath.Join(dir, "x")}, "keeps the records in etcd: use etcdctl snapshot save"},
		{"restore without a folder", []string{"restore", there}, "no data folder: give --config FILE, or --dir FOLDER"},
		{"restore into etcd", []string{"restore", "--config", inEtcd, there}, "etcdutl snapshot restore"},
		{"no backup", []string{"restore", "--dir", dir, filepath.Join(dir, "nowhere")}, "there is no backup at "},
		{"no store", []string{"restore", "--dir", dir, junk}, junk + " is not a store"},
		{"raise a file's", []string{"raise-generation", "--config", inFile}, `"stratos store restore" raises its generation by itself`},
		{"raise without a file", []string{"raise-generation"}, "no configuration: give --config FILE"},
		{"raise with etcd away", []string{"raise-generation", "--config", inEtcd}, "no endpoint answers"},
		{"no such command", []string{"copy"}, `unknown command "copy" for "stratos store"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := stratosCommand(t.Context(), append([]string{"store"}, c.args...)...)
			require.Equal(t, 1, code)
			require.Contains(t, errs, c.want)
			require.Empty(t, out)
		})
	}
	require.NoFileExists(t, filepath.Join(dir, storeFile), "what was refused left something")
	require.NoDirExists(t, filepath.Join(dir, "none"), "a look made the folder")
	left, err := filepath.Glob(filepath.Join(dir, "*x*"))
	require.NoError(t, err)
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, append(left, hidden...), "what was refused left something")
}

func TestStoreRaiseGeneration(t *testing.T) {
	c := etcdserver.Run(t, etcdserver.Options{})
	file := filepath.Join(t.TempDir(), "stratos.yaml")
	text := fmt.Sprintf("blobs: {s3: {bucket: b}}\nstore: {etcd: {endpoints: [%q]}}\n", c.Endpoints()[0])
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	code, _, errs := stratosCommand(t.Context(), "store", "raise-generation", "-c", file)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "there is no store at stratos/id: is the prefix right?")

	id := func() store.ID {
		s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: c.Endpoints()})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		id, err := s.ID(t.Context())
		require.NoError(t, err)
		return id
	}
	before := id()
	code, out, errs := stratosCommand(t.Context(), "store", "raise-generation", "-c", file)
	require.Zero(t, code, errs)
	require.Contains(t, out, fmt.Sprintf("store %s is of generation %d now", before.UUID, before.Generation+1))
	require.Equal(t, before.Generation+1, id().Generation)
}
