package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/topology"
)

// fileVersion is of the format of a client's file: one line of fileHeader,
// then the lines of a snapshot.
const fileVersion = 1

// fileHeader says what a file holds.
type fileHeader struct {
	V     int    `json:"v"`
	Scope string `json:"scope"`
	Sum   string `json:"sha256"` // of the rest of the file
}

// saveEvery is the shortest time between two writings of the file; a large
// topology, which takes long to write, is written less often.
const saveEvery = 5 * time.Second

// save writes the file when the topology has changed, and once more at the end.
func (c *Client) save(ctx context.Context) error {
	var saved topology.Digest
	var at store.Revision
	for {
		v, err := c.latest.Next(ctx, at)
		if err != nil {
			break // ctx ended
		}
		at = v.Rev
		took := c.saveChanged(&saved)
		if !pause(ctx, max(saveEvery, 50*took)) {
			break
		}
	}
	c.saveChanged(&saved)
	return nil
}

// saveChanged writes the file if its content is not what was last saved, and
// says how long that took.
func (c *Client) saveChanged(saved *topology.Digest) time.Duration {
	began := time.Now()
	v, id := c.copy.state()
	if v == nil || v.Digest() == *saved {
		return 0
	}
	b, err := formatFile(v, c.Scope, id)
	if err == nil {
		err = replaceFile(c.File, b)
	}
	if err != nil {
		c.log().Warn("the last topology is not kept on disk", "file", c.File, "err", err)
		return time.Since(began)
	}
	*saved = v.Digest()
	return time.Since(began)
}

// state returns the copy and whose it is.
func (r *replica) state() (*topology.View, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view, r.store
}

// load begins with the file, if there is a good one.
func (c *Client) load() {
	b, err := os.ReadFile(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s *snapReader
	if err == nil {
		s, err = parseFile(b, c.Scope)
	}
	if err == nil {
		err = c.copy.restore(s)
	}
	if err != nil {
		c.log().Warn("the topology on disk is not used", "file", c.File, "err", err)
	}
}

// restore begins with a snapshot that no control plane has confirmed.
func (r *replica) restore(s *snapReader) error {
	v, err := (&topology.View{}).Whole(s.rev, s.events)
	if err != nil {
		return err
	}
	if !s.last.sums(v.Digest()) {
		return errors.New("its records do not sum up to its digest")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store, r.stored = s.store, true
	r.show(v)
	return nil
}

func formatFile(v *topology.View, scope Scope, id string) ([]byte, error) {
	body, err := snapLines(v, Scope{}, id)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	head, err := json.Marshal(fileHeader{V: fileVersion, Scope: scope.String(), Sum: hex.EncodeToString(sum[:])})
	return append(append(head, '\n'), body...), err
}

// parseFile reads what formatFile wrote for the same scope.
func parseFile(b []byte, scope Scope) (*snapReader, error) {
	line, body, _ := bytes.Cut(b, []byte{'\n'})
	var head fileHeader
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	sum := sha256.Sum256(body)
	switch {
	case head.V != fileVersion:
		return nil, fmt.Errorf("its version is %d, not %d", head.V, fileVersion)
	case head.Scope != scope.String():
		return nil, fmt.Errorf("its scope is %q, not %q", head.Scope, scope)
	case head.Sum != hex.EncodeToString(sum[:]):
		return nil, errors.New("it is damaged: the checksum differs")
	}
	var s snapReader
	whole := false
	for line := range bytes.Lines(body) {
		f, err := parseFrame(line)
		if err != nil {
			return nil, err
		}
		if f.T != frameSnap || whole {
			return nil, fmt.Errorf("a frame %q too much", f.T)
		}
		if whole, err = s.add(&f); err != nil {
			return nil, err
		}
	}
	if !whole {
		return nil, errors.New("it breaks off")
	}
	return &s, nil
}

// replaceFile writes a file whole or not at all. A crash of the machine may
// leave a damaged one, which is passed over.
func replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, werr := f.Write(b)
	err = errors.Join(werr, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
