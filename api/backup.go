package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gostratos/stratos/api/client"
	"github.com/gostratos/stratos/store"
)

// backuper is a store that can copy itself, as it is at one revision, to a new
// file: complete, checked, and of mode 0600. A store of several machines has
// tools of its own for that.
type backuper interface {
	Backup(ctx context.Context, path string) error
}

// backupPatience is how long a part of a backup may wait for its reader.
const backupPatience = time.Minute

// Errors of backups.
var (
	errNoBackup  = errors.New("the records are not in a file of this control plane: copy them where they are (in etcd: etcdctl snapshot save)")
	errBackingUp = errors.New("another backup is on its way: wait until it has ended")
)

// oneAtATime lets one request in; the next waits a moment, then it is refused
// with busy. Without the wait, who has just been answered would be refused.
func oneAtATime(h handler, busy error) handler {
	slot := make(chan struct{}, 1)
	return func(w http.ResponseWriter, r *http.Request) error {
		select {
		case slot <- struct{}{}:
		case <-time.After(storePatience):
			return busy
		case <-r.Context().Done():
			return r.Context().Err()
		}
		defer func() { <-slot }()
		return h(w, r)
	}
}

// backup answers with a copy of the records. The store is copied to a file
// first: a slow reader keeps that file open, and not the store's. Its length
// and its digest go before it, so that a reader notices when some is missing.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	engine, ok := s.Store.(backuper)
	if !ok {
		return errNoBackup
	}
	id, err := s.Store.ID(r.Context())
	if err != nil {
		return err
	}
	f, err := s.copyRecords(r.Context(), engine, id)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	h.Set(client.BackupDigest, "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":")
	h.Set(client.BackupStore, id.String())
	if n, err := io.Copy(newPatient(w), f); err != nil {
		s.log().Warn("a backup was cut off", "store", id, "sent", n, "bytes", size, "err", err)
		return nil // the connection is closed, as some is missing
	}
	s.log().Info("a backup was taken", "store", id, "bytes", size)
	return nil
}

// copyRecords returns a copy of the store, whose file has no name any more: it
// is gone when it is closed, and with this process.
func (s *Server) copyRecords(ctx context.Context, engine backuper, id store.ID) (_ *os.File, err error) {
	scratch := s.Scratch
	if scratch == "" {
		scratch = os.TempDir()
	}
	// Of one store there is one control plane, and one copy at a time: what
	// bears its name was left by one that was killed.
	dir := filepath.Join(scratch, "stratos-backup-"+id.UUID)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "records.db")
	if err := engine.Backup(ctx, path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// patient is a writer to a reader who may be slow, and may not stand still.
type patient struct {
	w       io.Writer
	control *http.ResponseController
}

func newPatient(w http.ResponseWriter) patient {
	return patient{w, http.NewResponseController(w)}
}

func (p patient) Write(b []byte) (int, error) {
	err := p.control.SetWriteDeadline(time.Now().Add(backupPatience))
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return 0, err
	}
	return p.w.Write(b)
}
