package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"
)

// Where a backup is asked for, and the headers of the answer.
const (
	BackupPath   = "/v1/backup"
	BackupDigest = "Content-Digest" // RFC 9530, with sha-256
	BackupStore  = "Stratos-Store"  // which store it is of: its UUID, a dot, its generation
)

// How long a backup may be silent.
const (
	backupCopies = 10 * time.Minute // while the control plane copies and checks its records
	backupFlows  = time.Minute      // between two parts, by default
)

// ErrIncomplete says that a backup did not arrive as it was sent.
var ErrIncomplete = errors.New("the backup is not complete: take it again")

// Backup is a copy of the control plane's records on its way, the file that
// "stratos store restore" takes. Who reads until [io.EOF] has all of it, as it
// was sent: any other end is an error. It is for one goroutine.
type Backup struct {
	Store string // which store it is of: its UUID, a dot, its generation
	Size  int64  // bytes

	body    io.ReadCloser
	sum     hash.Hash
	want    []byte // what sum is at the end
	read    int64
	silence *silence
}

var _ io.ReadCloser = (*Backup)(nil)

// Backup asks for a copy of the records; an administrator's token is needed.
// Each replica is asked until one answers. The caller closes the backup. What
// flows may be silent for Timeout, by default a minute; it may take as long as it takes.
func (c *Client) Backup(ctx context.Context) (*Backup, error) {
	var b *Backup
	err := c.each(ctx, func(base string) (err error) {
		b, err = c.backup(ctx, base)
		return err
	})
	return b, err
}

func (c *Client) backup(ctx context.Context, base string) (_ *Backup, err error) {
	quiet, ctx := newSilence(ctx)
	defer func() {
		if err != nil {
			err = quiet.explain(err)
			quiet.end()
		}
	}()
	quiet.within(backupCopies)
	resp, err := c.send(ctx, http.MethodGet, base+BackupPath, nil, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close() // read as far as it matters
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", BackupPath, err)
		}
		return nil, &Error{Path: BackupPath, Code: resp.StatusCode, Text: textOf(answer)}
	}
	want, err := parseDigest(resp.Header.Get(BackupDigest))
	if err == nil && resp.ContentLength < 0 {
		err = errors.New("it does not say how long it is")
	}
	if err != nil {
		_ = resp.Body.Close() // the first error tells more
		return nil, fmt.Errorf("the answer of %s is no backup: %w", BackupPath, err)
	}
	quiet.limit = cmp.Or(c.Timeout, backupFlows)
	return &Backup{
		Store: resp.Header.Get(BackupStore), Size: resp.ContentLength,
		body: resp.Body, sum: sha256.New(), want: want, silence: quiet,
	}, nil
}

// Read implements [io.Reader]. A backup that was cut off, or changed on its
// way, is an [ErrIncomplete] in place of [io.EOF].
func (b *Backup) Read(p []byte) (int, error) {
	b.silence.within(b.silence.limit)
	n, err := b.body.Read(p)
	b.silence.pause()
	b.read += int64(n)
	_, _ = b.sum.Write(p[:n]) // never fails
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, fmt.Errorf("%w (cut off after %d of %d bytes: %w)", ErrIncomplete, b.read, b.Size, b.silence.explain(err))
	case b.read != b.Size:
		return n, fmt.Errorf("%w (cut off after %d of %d bytes)", ErrIncomplete, b.read, b.Size)
	case !bytes.Equal(b.sum.Sum(nil), b.want):
		return n, fmt.Errorf("%w (it was changed on its way: its digest does not fit)", ErrIncomplete)
	}
	return n, io.EOF
}

// Close gives up what was not read. It may be called more than once.
func (b *Backup) Close() error {
	b.silence.end()
	return b.body.Close()
}

// parseDigest reads the value of a Content-Digest with sha-256, alone or among others.
func parseDigest(header string) ([]byte, error) {
	for _, item := range strings.Split(header, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(item), "sha-256=:")
		if !ok {
			continue
		}
		text, ok = strings.CutSuffix(text, ":")
		sum, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("it has the odd digest %q", item)
		}
		return sum, nil
	}
	return nil, errors.New("it has no digest")
}

// silence ends a request when nothing was heard for too long.
type silence struct {
	limit time.Duration
	timer *time.Timer
	ctx   context.Context
	end   context.CancelFunc
}

var errSilence = errors.New("the control plane fell silent")

func newSilence(ctx context.Context) (*silence, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &silence{ctx: ctx}
	s.timer = time.AfterFunc(backupCopies, func() { cancel(errSilence) })
	s.end = func() {
		s.timer.Stop()
		cancel(nil)
	}
	return s, ctx
}

// within gives the control plane a time to be heard; pause stops it.
func (s *silence) within(d time.Duration) { s.timer.Reset(d) }
func (s *silence) pause()                 { s.timer.Stop() }

// explain says that silence was the cause of an error, if it was.
func (s *silence) explain(err error) error {
	if context.Cause(s.ctx) == errSilence {
		return errSilence
	}
	return err
}
